"""Writes tests/golden/tokenizers: small tokenizers with the steps of well-known models, and the ids that Hugging Face's
tokenizers gives for texts that are hard to cut.

texts.json holds the texts; NAME/tokenizer.json a tokenizer; NAME/ids.json the ids of each text, "plain" with special
tokens as plain text (encode_special_tokens) and "special" with special tokens recognised.
Needs tokenizers. Run from the repository root: python scripts/golden/make_tokenizers.py TEXT.jsonl...
"""
import json
import pathlib
import random
import sys

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

OUT = pathlib.Path("tests/golden/tokenizers")
VOCABULARY = 1000
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
O200K = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
BLOOM = r" ?[^(\s|[.,!?…。，、।۔،])]+"
WORLD = ["The naïve café owner's résumé. ", "Москва — столица России. ", "東京は日本の首都です。", "你好，世界！今天天气很好。",
         "العربية لغة جميلة ", "हिन्दी भाषा सुंदर है। ", "한국어 문장입니다. ", "Ελληνικά γράμματα ", "שלום עולם ", "ภาษาไทย ",
         "👩‍👩‍👧‍👦 🇯🇵 👍🏽 ", "def f(x):\n    return x ** 2\n\n", "Zürich, Åse, façade, coöperate. ", "\t\tindent\r\n"]


def texts():
    fixed = [
        "", " ", "  ", "   ", "\n", "\n\n", "\r\n", "\r\n\r\n", "\t", "\t\t x", " \n ", "   \n\n  x", "a", " a", "a ", "  a  b   c  ",
        "Give me a tagline for a new coffee shop.", "\n\n  x\t\ty", "I'll won't they've 12345 3.14159 1,000,000",
        "I'LL WON'T THEY'VE I'M HE'D IT'S WE'RE", "'s 't 'RE 'Ve 'm 'lL 'D ' ''s don''t", "l'été d'Ile ’s ’T",
        "naïve café Москва 東京 العربية हिन्दी 👩‍👩‍👧‍👦 🇯🇵", "def f(x):\n    return x**2  # comment\n",
        "<|im_start|>user\nhi<|im_end|>", "<s>a</s>", "<s> a </s> b", "x<|endoftext|>y  <|endoftext|>  z", "<unk><pad><0x0A>",
        "ﬁ ① Ａ é é", "a" * 300, "ab" * 200, "  leading and trailing  ", "\u200b\ufeffzero width", "\x00\x01control", "\x00", "a\x00b\x7f\x80\x9f",
        "0 1 12 123 1234 12345 123456 1234567", "٠١٢٣ १२३ Ⅷ ½ ² ₂ ㊿ 𝟘𝟙", "1e-9 0x1F 3.0.1 192.168.0.1", "e\u0301\u0323 q\u0307\u0323 Å Å \u1100\u1161\u11a8 각",
        "🙂🙃👍🏽👩‍🚀🏳️‍🌈🇩🇪🇫🇷", "日本語の文章、句読点。「引用」", "中文没有空格所以整句话是一个词", "한국어 조사는 붙는다", "ภาษาไทยไม่มีเว้นวรรค",
        "السلام عليكم ورحمة الله", "नमस्ते दुनिया, कैसे हो?", "שָׁלוֹם עֲלֵיכֶם", "Ελληνικά ΚΕΦΑΛΑΙΑ", "İstanbul ıßẞ ŒœÆæ ĳ ŉ", "\ue000\uf8ff\U000f0000",
        "\U0010ffff\ufffe\ufffd", "\u0378 unassigned \U0001f000", "\u180e\u3000\u2003\u00a0\u2028\u2029\u0085x", "\u00a0\u00a0a\u3000b\u2003 c",
        "…—–‐‑“”‘’„«»¿¡", "!!!???...,,,;;;", "a.b,c;d:e!f?g", "(a) [b] {c} <d> \"e\" 'f' `g`", "C++ C# .NET node.js a/b\\c", "@user #tag $5.00 50% a&b a*b a^b ~a |b|",
        "snake_case camelCase PascalCase SCREAMING_CASE kebab-case", "http://example.com/a?b=c&d=e#f", "x = [1, 2, 3]; y = {'a': 1}\n",
        "line one\nline two\r\nline three\rline four\n\n\n\nline eight", "tabs\tbetween\twords\t\t\tmany", "trailing newline\n", "trailing spaces   \n   ",
        "mixed \t \n \r\n whitespace \v \f end", "\u2581 \u2581\u2581a b\u2581c", "_ __ ___ a_b", "A", "Z z", "ǅ ǈ ʰ ª º", "x\u0300\u0301\u0302\u0303\u0304\u0305",
        "\u0300starts with a mark", "\u200dzwj\u200c", "🏻 skin", "©®™ ℃ № ℡", "½ cup ⅓", "αβγ∑∏∫√∞≠≤≥", "→←↑↓⇒", "╔═╗║╚╝", "\U00016d70\U000323af\U0001fae8 new",
        "𝒜𝓁𝑔𝑒𝒷𝓇𝒶", "𐍈𐌰𐌱", "👨\u200d👩\u200d👧 family", "repeat repeat repeat repeat repeat", "aaaaabbbbbaaaaa     aaaaa", "the the  the   the",
        "“Smart” quotes aren’t ‘simple’", "end of sentence.Next starts", "ALLCAPS WORDS HERE", "mIxEd CaSe", "a\u00adb soft-hyphen", "TOKEN<tok>token <tok> tok",
        "left   <strip>   right", "yes<word>no <word> yes <word>.", "\n<strip>\n\n<strip> ", "caf<é> CAFE\u0301 <é>", "  <gap>  <gap><gap>",
    ]
    generator = random.Random(5)
    pools = [(0x20, 0x7e), (0xa0, 0x24f), (0x300, 0x36f), (0x400, 0x4ff), (0x600, 0x6ff), (0x900, 0x97f), (0xe00, 0xe7f), (0x1100, 0x11ff),
             (0x2000, 0x206f), (0x3040, 0x30ff), (0x4e00, 0x4fff), (0xac00, 0xacff), (0x1f300, 0x1f64f), (0x0, 0x1f), (0xe000, 0xe010)]
    noise = []
    for _ in range(20):
        low, high = zip(*generator.choices(pools, k=3))
        noise.append("".join(chr(generator.randint(*generator.choice(list(zip(low, high))))) for _ in range(24)))
    return fixed + noise


def corpus(paths):
    lines = []
    for path in paths:
        for line in list(open(path, encoding="utf-8"))[:1500]:
            row = json.loads(line)
            lines += [value for value in row.values() if isinstance(value, str)]
    return lines + WORLD * 60


def special(*names):
    return [AddedToken(name, special=True, normalized=False) for name in names]


def byte_level_bpe(lines, pre, normalizer=None, specials=("<|endoftext|>", "<|im_start|>", "<|im_end|>"), **model):
    tokenizer = Tokenizer(models.BPE(**model))
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(lines, trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=special(*specials), initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    return tokenizer


def split(pattern, behavior="isolated", invert=False):
    return pre_tokenizers.Split(Regex(pattern), behavior, invert)


def byte_level(use_regex, prefix=False):
    return pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=use_regex)


def sequence(*steps):
    return pre_tokenizers.Sequence(list(steps))


def edited(tokenizer, edit):
    document = json.loads(tokenizer.to_str())
    edit(document)
    return Tokenizer.from_str(json.dumps(document)), document


def llama2_like(lines, normalizer, pre, decoder, unknown_fused=True, cut=False):
    """Trains over words, then takes the steps of the real thing."""
    names = ["<unk>", "<s>", "</s>"] + ["<0x%02X>" % b for b in range(256)]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=unknown_fused, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.train_from_iterator(lines, trainers.BpeTrainer(
        vocab_size=VOCABULARY + 400, special_tokens=special(*names), limit_alphabet=150, show_progress=False))

    def edit(document):
        document["added_tokens"] = document["added_tokens"][:3]
        if cut:  # without byte pieces: characters can be unknown
            document["model"]["byte_fallback"] = False

    tokenizer.normalizer, tokenizer.decoder = normalizer, decoder
    if pre:
        tokenizer.pre_tokenizer = pre
    else:
        original = edit

        def edit(document):
            original(document)
            document["pre_tokenizer"] = None
    return edited(tokenizer, edit)[0]


def unigram(lines):
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.train_from_iterator(lines[::4], trainers.UnigramTrainer(
        vocab_size=VOCABULARY, special_tokens=special("<unk>", "<s>", "</s>"), unk_token="<unk>", show_progress=False))

    def edit(document):
        vocabulary = document["model"]["vocab"]
        vocabulary[3:3] = [["<0x%02X>" % b, -20.0] for b in range(256)]
        document["model"]["byte_fallback"] = True

    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    return edited(tokenizer, edit)[0]


def tokenizers(lines):
    sign = normalizers.Replace(" ", "▁")
    spaced = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    bos = processors.TemplateProcessing(single="<|begin|> $A", pair=None, special_tokens=[("<|begin|>", 0)])

    yield "gpt2", byte_level_bpe(lines, byte_level(True)), "legacy"
    yield "prefix", byte_level_bpe(lines, byte_level(True, prefix=True)), "legacy"
    llama3 = byte_level_bpe(lines, sequence(split(LLAMA3), byte_level(False)), specials=("<|begin|>", "<|endoftext|>", "<|im_start|>"), ignore_merges=True)
    llama3.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), bos])
    yield "llama3", llama3, ""
    yield "qwen2", byte_level_bpe(lines, sequence(split(QWEN2), byte_level(False)), normalizers.NFC()), "legacy"
    yield "smollm2", byte_level_bpe(lines, sequence(pre_tokenizers.Digits(individual_digits=True), byte_level(True))), ""
    yield "o200k", byte_level_bpe(lines, sequence(split(O200K), byte_level(False)), normalizers.Sequence([normalizers.NFKC()])), ""
    yield "bloom", byte_level_bpe(lines, sequence(split(BLOOM), byte_level(False))), ""
    neox = byte_level_bpe(lines, byte_level(True), normalizers.NFC(), specials=("<|endoftext|>", "<|padding|>"))
    neox.add_tokens([" " * n for n in range(24, 1, -1)])
    neox.add_tokens([AddedToken("<tok>", normalized=True), AddedToken("<strip>", lstrip=True, rstrip=True, normalized=False),
                     AddedToken("<word>", single_word=True, normalized=False), AddedToken("<é>", normalized=True),
                     AddedToken("<gap>", rstrip=True, normalized=False)])
    neox.add_special_tokens([AddedToken("<|im_start|>", lstrip=True, special=True, normalized=False)])
    yield "neox", neox, "legacy"
    behaviors = sequence(split(r"\d{2}", "merged_with_previous"), split(r"[a-f]+", "contiguous"), split(r"[.!?]", "merged_with_next"),
                         split(r"[^x]+", "isolated", True), split(r"z", "removed"), pre_tokenizers.Digits(), byte_level(False))
    yield "behaviors", byte_level_bpe(lines, behaviors), ""
    yield "llama2", llama2_like(lines, normalizers.Sequence([normalizers.Prepend("▁"), sign]), None,
                                decoders.Sequence(spaced + [decoders.Strip(" ", 1, 0)])), "legacy"
    yield "gemma", llama2_like(lines, sign, pre_tokenizers.Split(" ", "merged_with_previous"), decoders.Sequence(spaced)), ""
    yield "mistral", llama2_like(lines, None, pre_tokenizers.Metaspace(prepend_scheme="first", split=False),
                                 decoders.Sequence(spaced + [decoders.Strip(" ", 1, 0)])), ""
    yield "unknown", llama2_like(lines, None, pre_tokenizers.Metaspace(), decoders.Metaspace(), cut=True), ""
    yield "unigram", unigram(lines), ""


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")


def main():
    everything = texts()
    write(OUT / "texts.json", everything)
    for name, tokenizer, style in tokenizers(corpus(sys.argv[1:])):
        document = json.loads(tokenizer.to_str())
        if style == "legacy":
            document["model"]["merges"] = [" ".join(pair) for pair in document["model"]["merges"]]
        if name == "gpt2":  # as the oldest files are
            del document["model"]["type"], document["pre_tokenizer"]["use_regex"], document["model"]["ignore_merges"]
        tokenizer = Tokenizer.from_str(json.dumps(document))
        ids = {}
        for kind in ("plain", "special"):
            tokenizer.encode_special_tokens = kind == "plain"
            ids[kind] = [tokenizer.encode(text, add_special_tokens=False).ids for text in everything]
        write(OUT / name / "tokenizer.json", document)
        write(OUT / name / "ids.json", ids)
        print(name, tokenizer.get_vocab_size(), (OUT / name / "tokenizer.json").stat().st_size)


if __name__ == "__main__":
    main()
