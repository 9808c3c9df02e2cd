"""The rule of scripts/guard.py, on runs whose truth is known: python3 -m unittest tests/scripts/guard_test.py"""
import pathlib
import random
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "scripts"))
import guard  # noqa: E402


def runs(slowdown, noise, rounds=5, drift=0.0, seed=0):
    """Base and now of a machine that is `noise` unsteady and grows slower by `drift` from run to run."""
    generator = random.Random(seed)
    speeds = [100 * (1 - drift) ** i * generator.uniform(1 - noise, 1 + noise) for i in range(2 * rounds + 1)]
    return speeds[0::2], [speed / (1 + slowdown) for speed in speeds[1::2]]


def word(base, now, better=1):
    return guard.judge(*guard.paired(base, now, better)).word


class Judge(unittest.TestCase):
    def test_a_slower_binary_is_found(self):
        for seed in range(50):
            self.assertEqual(word(*runs(slowdown=0.10, noise=0.01, seed=seed)), "WORSE")

    def test_a_larger_memory_is_found(self):
        base, now = runs(slowdown=-0.09, noise=0.0)
        self.assertEqual(word(base, now, better=-1), "WORSE")
        self.assertEqual(word(base, now, better=1), "better")

    def test_a_machine_that_grows_slower_blames_nobody(self):
        self.assertEqual(word(*runs(slowdown=0, noise=0.005, drift=0.03)), "same")

    def test_what_noise_hides_is_called_so(self):
        self.assertEqual(word([100, 130, 100, 130], [95, 95, 95]), "restless")

    def test_noise_does_not_hide_everything(self):
        self.assertEqual(word([100, 130, 100, 130], [30, 30, 30]), "WORSE")

    def test_less_than_the_floor_is_the_same(self):
        self.assertEqual(word([100] * 4, [97.2] * 3), "same")
        self.assertEqual(word([100] * 4, [96.8] * 3), "WORSE")

    def test_one_bad_run_of_three_does_not_count(self):
        self.assertEqual(word([100] * 4, [100, 50, 100]), "same")


class Decide(unittest.TestCase):
    def decided(self, slowdown, noise, seed):
        """The verdict, and how many times the runs were made for it."""
        made = []

        def measured():
            made.append(guard.paired(*runs(slowdown, noise, seed=10000 * len(made) + seed)))
            return made[-1:]

        return guard.decide(measured)[0].word, len(made)

    def test_the_same_binary_is_seldom_accused(self):
        words = [self.decided(0, 0.08, seed)[0] for seed in range(1000)]
        self.assertLess(words.count("WORSE"), 20)

    def test_a_slower_binary_is_accused_after_a_second_look(self):
        self.assertEqual(self.decided(0.10, 0.01, seed=1), ("WORSE", 2))

    def test_one_look_is_enough_where_nothing_seems_worse(self):
        self.assertEqual(self.decided(0, 0.01, seed=1), ("same", 1))


class Figures(unittest.TestCase):
    def test_are_read_from_the_line_that_is_meant(self):
        lines = [{"what": "prefill", "tokens_per_s": 7, "peak_rss_gb": 1},
                 {"what": "decode", "tokens_per_s": 3, "peak_rss_gb": 2}]
        self.assertEqual(guard.figure_of("prefill", "tokens_per_s")(lines), 7)
        self.assertEqual(guard.figure_of(None, "peak_rss_gb")(lines), 2)


if __name__ == "__main__":
    unittest.main()
