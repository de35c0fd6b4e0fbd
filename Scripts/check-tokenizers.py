"""What Scripts/check-tokenizers runs: see there."""
import base64
import glob
import io
import json
import os
import random
import subprocess
import sys
import time
import unicodedata

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

MODE, PROGRAM, MINILM, WORK, COUNT = *sys.argv[1:5], int(sys.argv[5])
RANDOM = random.Random(7)
TAIL = r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+" + TAIL
QWEN2 = LLAMA3.replace("{1,3}", "")

# MARK: - Texts

def real_lines():
    """Lines of this package's files and of Python's library, some of which hold many scripts."""
    paths = sorted(glob.glob("*.md") + glob.glob("Sources/**/*.swift", recursive=True) + glob.glob("Tests/Fixtures/*.json"))
    library = os.path.dirname(os.__file__)
    paths += sorted(glob.glob(library + "/*.py"))[:120] + sorted(glob.glob(library + "/idlelib/*.html"))
    lines = []
    for path in paths:
        if path.endswith("UnicodeTables.swift"):
            continue
        with open(path, encoding="utf-8", errors="ignore") as file:
            lines += [line.rstrip("\n") for line in file if line.strip()]
    for entry in json.load(open("Tests/Fixtures/tokenizers.json", encoding="utf-8")):
        lines += [entry["text"]] * 20
    return lines


BLOCKS = [
    (0x00, 0x7F), (0x20, 0x7E), (0x80, 0xFF), (0x100, 0x24F), (0x250, 0x2FF), (0x300, 0x36F), (0x370, 0x3FF),
    (0x400, 0x52F), (0x590, 0x6FF), (0x700, 0x8FF), (0x900, 0xDFF), (0xE00, 0x10FF), (0x1100, 0x11FF), (0x1780, 0x1AFF),
    (0x1D00, 0x1FFF), (0x2000, 0x206F), (0x2070, 0x24FF), (0x2500, 0x2BFF), (0x2E80, 0x33FF), (0x3400, 0x9FFF),
    (0xA000, 0xABFF), (0xAC00, 0xD7FF), (0xE000, 0xFAFF), (0xF900, 0xFFFF), (0x10000, 0x11FFF), (0x16000, 0x1BFFF),
    (0x1D000, 0x1D7FF), (0x1E000, 0x1EFFF), (0x1F000, 0x1FAFF), (0x20000, 0x3FFFF), (0xE0000, 0xE01FF),
    (0xF0000, 0x10FFFF),
]
ODDITIES = [
    "[CLS]", "[SEP]", "[MASK]", "[UNK]", "[PAD]", "##ing", "<s>", "</s>", "<unk>", "<pad>", "<mask>", "<|endoftext|>",
    "<|im_start|>", "<|im_end|>", "<0x0A>", "<extra>", "Ġ", "▁", "▁▁", "word", " word ", "Été", "été", "e\u0301te\u0301",
    "'s", "'LL", "'ſ", "n't", " .", "\r\n", "\n\n", "  ", "\t", "\u00a0", "\u3000", "\u0085", "\u200b", "\u200d", "\ufeff",
    "\ufffd", "\0", "👩\u200d👩\u200d👧\u200d👦", "🇯🇵", "👍🏽", "❤\ufe0f", "ﬁ", "½", "²", "İ", "ı", "ß", "Σ", "ς", "Å", "Å", "가", "가", "각",
    "\u0344", "\u0f71\u0f72", "a\u0323\u0307", "a\u0307\u0323", "\u1d165\u1d16e", "日本", "ｱﾞ", "ｶﾞ", "한국어", "ไทย", "शक्ति", "\u0600",
    "123", "１２", "٣", "1,000.5", "don't", "``", "''", "x" * 101, "a" * 100, "é" * 100, "_", "-", "$", "`", "~", "^",
]


def texts(count, lines):
    """`count` texts, of which a third are real and the rest made of random characters and oddities."""
    everything = [code for low, high in BLOCKS for code in range(low, high + 1) if not 0xD800 <= code < 0xE000]
    for index in range(count):
        kind = index % 6
        if kind < 2:
            text = RANDOM.choice(lines)
            if kind == 1 and len(text) > 4:
                at = RANDOM.randrange(len(text))
                text = text[:at] + RANDOM.choice(ODDITIES) + text[at + RANDOM.randrange(4):]
            yield text[:200]
            continue
        length = RANDOM.randrange(1, 24)
        if kind == 2:
            codes = RANDOM.choices(everything, k=length)
        elif kind == 3:
            low, high = RANDOM.choice(BLOCKS)
            codes = [code for code in RANDOM.choices(range(low, high + 1), k=length) if not 0xD800 <= code < 0xE000]
        elif kind == 4:
            # Few characters, so that they meet each other, marks above all.
            few = RANDOM.choices(everything, k=3) + RANDOM.choices(range(0x300, 0x370), k=2) + [0x20, 0x61]
            codes = RANDOM.choices(few, k=length)
        else:
            yield "".join(RANDOM.choices(ODDITIES + ["a", "b", " ", "The", "x"], k=RANDOM.randrange(1, 9)))
            continue
        yield "".join(map(chr, codes))


# MARK: - Tokenizers

def character_map(lines):
    """SentencePiece's map nmt_nfkc, out of a model that is trained to get it."""
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines[:2000]), model_writer=model, vocab_size=400, hard_vocab_limit=False,
        normalization_rule_name="nmt_nfkc", minloglevel=2)

    def fields(data):
        offset = 0
        def number():
            nonlocal offset
            value, shift = 0, 0
            while True:
                byte = data[offset]
                offset += 1
                value |= (byte & 127) << shift
                shift += 7
                if byte < 128:
                    return value
        while offset < len(data):
            tag = number()
            if tag & 7 == 2:
                length = number()
                yield tag >> 3, data[offset:offset + length]
                offset += length
            elif tag & 7 == 0:
                yield tag >> 3, number()
            else:
                offset += 4 if tag & 7 == 5 else 8
    specification = next(value for tag, value in fields(model.getvalue()) if tag == 3)
    return next(value for tag, value in fields(specification) if tag == 2)


FLAGS = [
    AddedToken("<mask>", lstrip=True, special=True, normalized=False), AddedToken("<extra>", rstrip=True, normalized=False),
    AddedToken("word", single_word=True, normalized=True), AddedToken("Été", normalized=True),
    AddedToken("''", lstrip=True, rstrip=True, normalized=True), AddedToken("<|im_start|>", special=True, normalized=False),
    AddedToken("<|im_end|>", special=True, normalized=True), AddedToken("1,0", normalized=False),
]


def trained(model, trainer, lines, normalizer=None, pre_tokenizer=None):
    tokenizer = Tokenizer(model)
    if normalizer:
        tokenizer.normalizer = normalizer
    if pre_tokenizer:
        tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.train_from_iterator(lines, trainer)
    return tokenizer


def changed(tokenizer, **changes):
    """The tokenizer with fields of its model set to other values."""
    file = json.loads(tokenizer.to_str())
    file["model"].update(changes)
    return Tokenizer.from_str(json.dumps(file))


def byte_pairs(lines, size, pre_tokenizer, special, normalizer=None):
    return trained(
        models.BPE(), trainers.BpeTrainer(
            vocab_size=size, special_tokens=special, show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet()),
        lines, normalizer, pre_tokenizer)


def kinds(lines):
    """Tokenizers by name, which between them have every part that is known."""
    real = lines[:6000]
    lines = real + [text for text in texts(1200, lines)]
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    split = pre_tokenizers.Split
    sequence = pre_tokenizers.Sequence
    whitespace = pre_tokenizers.WhitespaceSplit()
    found = {}

    minilm = Tokenizer.from_file(MINILM + "/tokenizer.json")
    minilm.no_truncation()
    minilm.no_padding()
    found["all-MiniLM-L6-v2"] = minilm

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    cased = trained(
        models.WordPiece(unk_token="[UNK]"), trainers.WordPieceTrainer(
            vocab_size=3000, special_tokens=special, show_progress=False),
        lines, normalizers.BertNormalizer(lowercase=False), pre_tokenizers.BertPreTokenizer())
    cased.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    cased.decoder = decoders.WordPiece()
    found["BERT, cased"] = cased

    roberta = byte_pairs(lines, 3000, pre_tokenizers.ByteLevel(add_prefix_space=True), ["<s>", "<pad>", "</s>", "<unk>"])
    roberta.add_tokens([token for token in FLAGS if not token.special])
    roberta.add_special_tokens([token for token in FLAGS if token.special])
    roberta.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    roberta.decoder = decoders.ByteLevel()
    found["RoBERTa"] = roberta

    gpt2 = byte_pairs(lines, 3000, pre_tokenizers.ByteLevel(add_prefix_space=False), ["<|endoftext|>"])
    gpt2.decoder = decoders.ByteLevel()
    found["GPT-2"] = gpt2

    smollm = byte_pairs(
        lines, 2500, sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]),
        ["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    smollm.decoder = decoders.ByteLevel()
    found["SmolLM2"] = smollm

    # The merges of these two have seen no borders, so that IDs show where a text is cut.
    borderless = byte_pairs(lines[:2500], 2500, byte_level, ["<|begin_of_text|>"])
    llama3 = changed(borderless, ignore_merges=True)
    llama3.pre_tokenizer = sequence([split(Regex(LLAMA3), "isolated"), byte_level])
    llama3.post_processor = processors.Sequence([
        processors.ByteLevel(), processors.TemplateProcessing("<|begin_of_text|> $A", special_tokens=[("<|begin_of_text|>", 0)])])
    llama3.decoder = decoders.ByteLevel()
    found["Llama 3"] = llama3
    qwen2 = changed(borderless)
    qwen2.normalizer = normalizers.NFC()
    qwen2.pre_tokenizer = sequence([split(Regex(QWEN2), "isolated"), byte_level])
    qwen2.decoder = decoders.ByteLevel()
    found["Qwen2"] = qwen2

    fallback = [f"<0x{byte:02X}>" for byte in range(256)]
    special = ["<unk>", "<s>", "</s>"] + fallback
    marking = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    llama2 = trained(
        models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True),
        trainers.BpeTrainer(vocab_size=2500, special_tokens=special, show_progress=False, max_token_length=12), lines[:2000], marking)
    # The bytes are no special tokens.
    file = json.loads(llama2.to_str())
    file["added_tokens"] = file["added_tokens"][:3]
    llama2 = Tokenizer.from_str(json.dumps(file))
    llama2.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 1)])
    llama2.decoder = decoders.Sequence([
        decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    found["Llama 2"] = llama2
    partly = {text: id for text, id in json.loads(llama2.to_str())["model"]["vocab"].items() if text != "<0xE2>"}
    found["BPE, some bytes"] = changed(llama2, vocab=partly, fuse_unk=False)
    gemma = changed(llama2)
    gemma.normalizer = normalizers.Replace(" ", "▁")
    gemma.pre_tokenizer = split("▁", "merged_with_previous")
    found["Gemma"] = gemma
    first = changed(llama2)
    first.normalizer = normalizers.Strip()
    first.pre_tokenizer = sequence([whitespace, pre_tokenizers.Metaspace(prepend_scheme="first", split=False)])
    first.add_tokens(FLAGS[1:4])
    found["BPE, first mark"] = first
    affixes = trained(
        models.BPE(unk_token="<unk>", continuing_subword_prefix="##", end_of_word_suffix="</w>"),
        trainers.BpeTrainer(vocab_size=2000, special_tokens=["<unk>"], show_progress=False, continuing_subword_prefix="##",
                            end_of_word_suffix="</w>"), lines[:2000], None, pre_tokenizers.Whitespace())
    found["BPE, affixes"] = affixes

    metaspace = pre_tokenizers.Metaspace()
    charsmap = normalizers.Precompiled(character_map(lines))
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    unigram = lambda size: trainers.UnigramTrainer(
        vocab_size=size, special_tokens=special, unk_token="<unk>", show_progress=False)
    t5 = trained(models.Unigram(), unigram(3000), real, charsmap, metaspace)
    t5.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 2)])
    t5.decoder = decoders.Metaspace()
    found["T5"] = t5
    roberta = changed(t5)
    roberta.normalizer = normalizers.Sequence([charsmap, normalizers.Replace(Regex(" {2,}"), " ")])
    roberta.pre_tokenizer = sequence([whitespace, metaspace])
    roberta.add_special_tokens([AddedToken("<mask>", lstrip=True, special=True)])
    found["XLM-RoBERTa"] = roberta
    pieces = json.loads(t5.to_str())["model"]["vocab"] + [[text, -30.0] for text in fallback]
    found["Unigram, bytes"] = changed(t5, vocab=pieces, byte_fallback=True)
    albert = trained(
        models.Unigram(), unigram(3000), real, normalizers.Sequence([
            normalizers.Replace("``", '"'), normalizers.Replace("''", '"'), normalizers.NFKD(), normalizers.StripAccents(),
            normalizers.Lowercase(), charsmap]), metaspace)
    albert.decoder = decoders.Metaspace()
    found["ALBERT"] = albert

    words = trained(
        models.WordLevel(unk_token="<unk>"), trainers.WordLevelTrainer(vocab_size=3000, special_tokens=special, show_progress=False),
        lines, normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(), normalizers.Lowercase()]),
        sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Punctuation("contiguous")]))
    found["Words"] = words

    # Bytes show all that a normalizer does, and merges without borders where a text is cut.
    for name, normalizer in [
        ("NFC", normalizers.NFC()), ("NFD", normalizers.NFD()), ("NFKC", normalizers.NFKC()), ("NFKD", normalizers.NFKD()),
        ("character map", charsmap), ("BERT", normalizers.BertNormalizer()),
        ("BERT, accents", normalizers.BertNormalizer(strip_accents=False)),
        ("BERT, plain", normalizers.BertNormalizer(clean_text=False, handle_chinese_chars=False, strip_accents=True, lowercase=False)),
        ("lower case", normalizers.Sequence([normalizers.Lowercase(), normalizers.Strip(left=False)])),
        ("accents", normalizers.Sequence([normalizers.StripAccents(), normalizers.Strip(right=False)])),
        ("Nmt", normalizers.Sequence([normalizers.Nmt(), normalizers.Prepend("▁"), normalizers.Replace(Regex(r"\s+"), "_")])),
    ]:
        tokenizer = changed(borderless)
        tokenizer.normalizer = normalizer
        tokenizer.pre_tokenizer = byte_level
        tokenizer.add_tokens(FLAGS[2:5])
        tokenizer.decoder = decoders.ByteLevel()
        found["normalizer " + name] = tokenizer
    for name, pre_tokenizer in [
        ("BERT", pre_tokenizers.BertPreTokenizer()), ("whitespace", whitespace), ("words", pre_tokenizers.Whitespace()),
        ("digits", pre_tokenizers.Digits()), ("delimiter", pre_tokenizers.CharDelimiterSplit("e")),
        ("length", pre_tokenizers.FixedLength(5)),
        ("GPT-2", pre_tokenizers.ByteLevel(add_prefix_space=False)),
        ("digits apart", pre_tokenizers.Digits(individual_digits=True)),
        *[(f"punctuation {behavior}", pre_tokenizers.Punctuation(behavior))
          for behavior in ("removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous")],
        *[(f"split {behavior}", split(" ", behavior, invert=behavior == "contiguous"))
          for behavior in ("removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous")],
    ]:
        tokenizer = changed(borderless)
        tokenizer.pre_tokenizer = pre_tokenizer if name == "GPT-2" else sequence([pre_tokenizer, byte_level])
        found["pre-tokenizer " + name] = tokenizer
    return found


# MARK: - The comparison

def run(name, sample, *options):
    texts_path, results_path = WORK + "/texts", WORK + "/results"
    with open(texts_path, "w", encoding="utf-8") as file:
        for text in sample:
            file.write(json.dumps(text, ensure_ascii=False) + "\n")
    subprocess.run([PROGRAM, WORK + "/tokenizer.json", texts_path, results_path, *options], check=True)
    with open(results_path, encoding="utf-8") as file:
        results = file.read().split("\n")[:-1]
    if len(results) != len(sample):
        sys.exit(f"check-tokenizers: {name}: {len(results)} results for {len(sample)} texts")
    return results


def has_marks_in_a_row(text):
    return any(unicodedata.combining(a) and unicodedata.combining(b) for a, b in zip(text, text[1:]))


def report(name, what, differing, total):
    print(f"{name}, {what}: {len(differing)} of {total} texts differ")
    for text, wanted, got in differing[:5]:
        print(f"    {ascii(text)}\n        wanted {wanted}\n        got    {got}")


def check(name, tokenizer, sample, all_lines):
    tokenizer.save(WORK + "/tokenizer.json")
    failures = 0
    # Where text may make no special tokens, that package's models still find those of their own vocabulary in it. Here none
    # is made, so that such texts are left out.
    tokenizer.encode_special_tokens = True
    model = json.loads(tokenizer.to_str())["model"]
    special = {id for id, token in tokenizer.get_added_tokens_decoder().items()
               if token.special and token.content != model.get("unk_token") and id != model.get("unk_id")}
    encodings = tokenizer.encode_batch_fast(sample, add_special_tokens=False)
    without = [text for text, encoding in zip(sample, encodings) if special.isdisjoint(encoding.ids)]
    # Text can make no special tokens, and where it is allowed to it does.
    half = len(sample) // 4
    for what, part, options, plain in [
        ("plain", without[half:], [], True), ("special tokens", sample[:half], ["--special"], False)
    ]:
        tokenizer.encode_special_tokens = plain
        wanted = [" ".join(map(str, encoding.ids)) for encoding in tokenizer.encode_batch_fast(part, add_special_tokens=False)]
        got = run(name, part, *options)
        differing = [entry for entry in zip(part, wanted, got) if entry[1] != entry[2]]
        if differing:
            report(name, what, differing, len(part))
            failures += len(differing)
    few = without[: len(sample) // 20]
    tokenizer.encode_special_tokens = True
    encodings = tokenizer.encode_batch(few, add_special_tokens=False)
    if name == "all-MiniLM-L6-v2":
        entries = json.load(open("Tests/Fixtures/tokenizers.json", encoding="utf-8"))
        got = run(name, [entry["text"] for entry in entries], "--special")
        differing = [(entry["text"], entry["minilm"], ids) for entry, ids in zip(entries, got)
                     if entry["minilm"] != [101, *map(int, ids.split()), 102]]
        if differing:
            report(name, "the fixtures", differing, len(entries))
            failures += len(differing)
    if tokenizer.decoder is not None and "bytes" not in name:
        got = run(name, few, "--decode")
        wanted = [json.dumps(text, ensure_ascii=False) for text in
                  tokenizer.decode_batch([encoding.ids for encoding in encodings], skip_special_tokens=False)]
        differing = [(text, a, b) for text, a, b in zip(few, wanted, got) if json.loads(a) != json.loads(b)]
        if differing:
            report(name, "decoded", differing, len(few))
            failures += len(differing)
    if name in ("all-MiniLM-L6-v2", "BERT, cased"):
        got = run(name, few, "--spans")
        wanted = []
        for text, encoding in zip(few, encodings):
            starts = [0]
            for character in text:
                starts.append(starts[-1] + len(character.encode()))
            wanted.append(" ".join(
                f"{id}:{starts[start]}-{starts[end]}" for id, (start, end) in zip(encoding.ids, encoding.offsets)))
        # Where marks change places that package's ranges lose some of them.
        differing = [entry for entry in zip(few, wanted, got) if entry[1] != entry[2] and not has_marks_in_a_row(entry[0])]
        if differing:
            report(name, "spans", differing, len(few))
            failures += len(differing)
    return failures


def main():
    lines = real_lines()
    RANDOM.shuffle(lines)
    start = time.monotonic()
    found = kinds(lines)
    if MODE == "speed":
        return speed(found, lines)
    # A third for the tokenizer that is used, the rest for the others in equal parts.
    failures, total = 0, 0
    share = COUNT * 2 // 3 // (len(found) - 1)
    for name, tokenizer in found.items():
        sample = list(texts(COUNT - share * (len(found) - 1) if name == "all-MiniLM-L6-v2" else share, lines))
        if name == "all-MiniLM-L6-v2":
            sample[:0] = [entry["text"] for entry in json.load(open("Tests/Fixtures/tokenizers.json", encoding="utf-8"))]
        total += len(sample)
        failures += check(name, tokenizer, sample, lines)
    print(f"{total} texts, {len(found)} tokenizers, {time.monotonic() - start:.0f} s: {failures} results differ from those of "
          f"tokenizers {tokenizers.__version__}.")
    return failures > 0


def speed(found, lines):
    """Megabytes of UTF-8 per second, the best of some rounds, of real lines of 200 characters at most."""
    sample = [line[:200] for line in lines]
    while sum(map(len, sample)) < 2_000_000:
        sample += sample
    byte_count = sum(len(text.encode()) for text in sample)
    with open(WORK + "/texts", "w", encoding="utf-8") as file:
        file.writelines(json.dumps(text, ensure_ascii=False) + "\n" for text in sample)
    print("| tokenizer | `tokenizers`, MB/s | here, MB/s | ratio |\n| --- | --- | --- | --- |")
    for name, tokenizer in found.items():
        if name.startswith(("normalizer", "pre-tokenizer", "BPE,")):
            continue
        tokenizer.save(WORK + "/tokenizer.json")
        rates = []
        for encode in (tokenizer.encode_batch_fast, lambda batch: [tokenizer.encode(text).ids for text in batch]):
            for _ in range(2):
                start = time.perf_counter()
                encode(sample)
                rates.append(byte_count / (time.perf_counter() - start) / 1e6)
        theirs = max(rates)
        ours = float(subprocess.run(
            [PROGRAM, WORK + "/tokenizer.json", WORK + "/texts", "--time"], check=True, capture_output=True).stdout)
        print(f"| {name} | {theirs:.2f} | {ours:.1f} | {ours / theirs:.0f} |", flush=True)
    return 0


sys.exit(main())
