"""Writes tests/golden/bos.json: whether transformers opens a text with BOS, for the tokenizers of all families and for
every way in which a directory can say so.

A case is a directory: "tokenizer" names one of tests/golden/tokenizers ("sentencepiece": the tokenizer.model of
tests/golden/old_run/base), "post_processor" replaces that of its tokenizer.json, "config" is its tokenizer_config.json and
"model_type" stands in its config.json. "texts" and "ids": what tokenizer(text) gives there.
Needs transformers, sentencepiece and protobuf. Run from the repository root: python scripts/golden/make_bos.py
"""
import json
import pathlib
import shutil
import tempfile

import transformers
from transformers import AutoTokenizer

GOLDEN = pathlib.Path("tests/golden")
SENTENCEPIECE = GOLDEN / "old_run/base/tokenizer.model"
TEXTS = ["The capital of France is", "", "a  b\n"]


def template(before=None, behind=None):
    single = [{"Sequence": {"id": "A", "type_id": 0}}]
    if before:
        single.insert(0, {"SpecialToken": {"id": before, "type_id": 0}})
    if behind:
        single.append({"SpecialToken": {"id": behind, "type_id": 0}})
    return {"type": "TemplateProcessing", "single": single, "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {name: {"id": name, "ids": [], "tokens": [name]} for name in (before, behind) if name}}


BYTES = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True}


def families():
    """Family, tokenizer, model type, post-processor, tokenizer_config.json: as the published models have them."""
    bytes_then = {"type": "Sequence", "processors": [BYTES, template("<|begin|>")]}
    yield "gpt2", "gpt2", "gpt2", BYTES, {"tokenizer_class": "GPT2Tokenizer", "add_bos_token": False, "bos_token": "<|endoftext|>"}
    yield "llama 2", "llama2", "llama", template("<s>"), {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    yield "llama 3", "llama3", "llama", bytes_then, {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|begin|>", "eos_token": "<|endoftext|>"}
    yield "smollm2", "smollm2", "llama", None, {"tokenizer_class": "GPT2Tokenizer", "bos_token": "<|im_start|>", "eos_token": "<|im_end|>"}
    yield "smollm3", "llama3", "smollm3", bytes_then, {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": None, "eos_token": "<|endoftext|>"}
    yield "mistral", "mistral", "mistral", template("<s>"), {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    yield "phi 3", "llama2", "phi3", template(), {"tokenizer_class": "LlamaTokenizer", "add_bos_token": False, "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    yield "qwen 2", "qwen2", "qwen2", BYTES, {"tokenizer_class": "Qwen2Tokenizer", "add_bos_token": False, "bos_token": None, "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    yield "qwen 3", "qwen2", "qwen3", BYTES, {"tokenizer_class": "Qwen2Tokenizer", "add_bos_token": False, "bos_token": None, "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    yield "gemma 2", "gemma", "gemma2", template("<s>"), {"tokenizer_class": "GemmaTokenizer", "add_bos_token": True, "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<unk>", "mask_token": "<unk>"}
    yield "gemma 3", "gemma", "gemma3_text", template("<s>"), {"tokenizer_class": "GemmaTokenizer", "add_bos_token": True, "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<unk>", "mask_token": "<unk>"}
    yield "gpt-neox", "neox", "gpt_neox", template(), {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"}
    yield "olmo 2", "o200k", "olmo2", BYTES, {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"}


def conventions():
    """Every combination of what the two files say, with a class that reads tokenizer.json as it stands."""
    for tokenizer, bos, eos in (("smollm2", "<|im_start|>", "<|im_end|>"), ("unigram", "<s>", "</s>")):
        for key in (None, True, False):
            for name, processor in (("none", None), ("empty", template()), ("before", template(bos)), ("both", template(bos, eos)), ("behind", template(None, eos))):
                config = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": bos, "eos_token": eos}
                if key is not None:
                    config["add_bos_token"] = key
                yield f"{tokenizer}, add_bos_token {key}, {name}", tokenizer, "llama", processor, config


def sentencepiece():
    for kind, key in (("LlamaTokenizer", None), ("LlamaTokenizer", True), ("LlamaTokenizer", False), ("GemmaTokenizer", None), ("GemmaTokenizer", True)):
        config = {"tokenizer_class": kind, "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<unk>", "mask_token": "<unk>", "legacy": False,
                  "add_prefix_space": False}
        if key is not None:
            config["add_bos_token"] = key
        yield f"{kind} of tokenizer.model, add_bos_token {key}", "sentencepiece", "llama", None, config


def resolved(processor, ids):
    """Templates carry the ids of their tokens."""
    for step in (processor or {}).get("processors", [processor]):
        for token in (step or {}).get("special_tokens", {}).values():
            token["ids"] = [ids[token["id"]]]
    return processor


def measure(name, tokenizer, model_type, processor, config):
    processor = json.loads(json.dumps(processor))
    with tempfile.TemporaryDirectory() as temporary:
        directory = pathlib.Path(temporary)
        (directory / "config.json").write_text(json.dumps({"model_type": model_type}))
        (directory / "tokenizer_config.json").write_text(json.dumps(config))
        if tokenizer == "sentencepiece":
            shutil.copy(SENTENCEPIECE, directory)
        else:
            document = json.loads((GOLDEN / "tokenizers" / tokenizer / "tokenizer.json").read_text(encoding="utf-8"))
            document["post_processor"] = resolved(processor, {token["content"]: token["id"] for token in document["added_tokens"]})
            (directory / "tokenizer.json").write_text(json.dumps(document))
        loaded = AutoTokenizer.from_pretrained(directory)
        ids = [loaded(text).input_ids for text in TEXTS]
    print(f"{name}: {type(loaded).__name__} {ids[0][:3]}… {ids[1]}")
    return {"name": name, "tokenizer": tokenizer, "model_type": model_type, "post_processor": processor, "config": config, "ids": ids}


def main():
    cases = [measure(*case) for source in (families, conventions, sentencepiece) for case in source()]
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
    (GOLDEN / "bos.json").write_text(f'{{"transformers": "{transformers.__version__}", "texts": {json.dumps(TEXTS)}, "cases": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
