#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the expected values of tests/text: what the Hugging Face libraries do with small tokenizers and templates.

    python tools/dump_tokens.py            # needs the packages tokenizers and jinja2

Trains a small tokenizer for each family, with that family's components, and dumps tokenizer.json, ids and decoded
texts; dumps what single components do; renders chat templates with the environment that transformers sets up.
"""
import json
import pathlib
import random

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

OUT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "text" / "data"

CORPUS = [
    "The quick brown fox jumps over the lazy dog, and then it doesn't care that we're watching; they'll say I'm late.",
    "Quantization stores the weights of a model with fewer bits, so that the model needs less memory and less time.",
    "In 2024 there were 12345 files and 678 folders; by 2025 it was 100000. That's 3.14159 times more than we'd had.",
    "def encode(self, text):\n    for piece in self.split(text):\n        yield from self.merge(piece)\n\n\treturn None\n",
    "int main() {\n    std::printf(\"hello, world\\n\");\n    return 0;\n}\n",
    "Der schnelle braune Fuchs springt über den faulen Hund, während die Mädchen Äpfel und Öl für das Frühstück kaufen.",
    "Le café était déjà fermé quand nous sommes arrivés à la gare, où l'été s'achevait doucement.",
    "Быстрая лиса прыгает через ленивую собаку, а потом бежит домой и спит до утра.",
    "机器学习模型需要大量的数据和计算资源。量化可以减少内存。今天天气很好，我们去公园吧！",
    "日本語のテキストも少し入れておきます。カタカナとひらがな、そして漢字。",
    "مرحبا بالعالم، هذا نص قصير باللغة العربية. שלום עולם, זה טקסט קצר בעברית.",
    "नमस्ते दुनिया, यह हिन्दी में एक छोटा वाक्य है।",
    "Emoji: 😀 😃 🚀 👍🏽 👨‍👩‍👧 🇩🇪 ❤️ and symbols: ½ ² € £ § ± → ≤ ∑",
    "the the the of of and and to to in in is is that that with with for for    as   as  on  on\n\n\n\t\t\tat at",
] * 3

TEXTS = [
    "", " ", "  ", "   ", "\n", "\n\n", "\n\n\n", "\t", "\r\n", " \n ", "\t\n", "a", " a", "a ", "  a  b   c    ",
    "Hello", " Hello", "Hello world", "Hello, world!", "hello WORLD, it's Me; I'M HERE, we'LL see, they'D ſay'ſ",
    "I'm 12345  x\n\n", "The quick brown fox doesn't jump.", "1", "12", "123", "1234", "12345", "1234567890123", "3.14159",
    "½ ² Ⅷ ٣٤٥ १२३", "x=1;y=22;z=333;", "def f(x):\n    return x + 1\n\n\n# end\n", "a\n\nb\r\nc\rd\u2028e\u0085f\x0bg\x0ch",
    "tab\tand\t\ttabs  and spaces   \n   mixed \t \n\t x", "x" * 70, " " * 50, "\n" * 30, "ab" * 120, "!" * 40, "=" * 33 + " end",
    " " * 23 + "y", " " * 24 + "y", " " * 25 + "y", " " * 26 + "y", "9" * 50,
    "über Äpfel café", "cafe\u0301 u\u0308ber A\u030a", "\u0301lone mark", "e\u0301\u0302\u0303\u0304\u0327", "ﬁ ﬀ Å Ω K",
    "Быстрая лиса", "机器学习模型", "今天天气很好，我们去公园吧！ABC123", "カタカナ ひらがな 漢字々", "한국어 한글",
    "مرحبا بالعالم", "שלום עולם", "\u202eright to left\u202c", "नमस्ते दुनिया क्ष", "ไทยภาษา",
    "😀", "😀😃🚀", "👍🏽", "👨‍👩‍👧", "🇩🇪🇫🇷", "❤️", "a😀b", "zero\u200bwidth\u200cnon\u200djoiner\ufeffbom",
    "no\u00a0break\u202fspace\u3000wide\u2003em", "\u00a0", " \u00a0 ", "soft\u00adhyphen", "\u2581under\u2581score\u2581", "\u2581", "▁▁ ▁a ▁",
    "\x00", "a\x00b", "\x01\x02\x1f\x7f\x80\x9f", "\ufffd\ufffe\uffff", "\U0010ffff \U000f0000 \ue000",
    "<s>", "</s>", "<unk>", "<s>hello</s>", "a<s>b", "a <s> b", "a  </s>  b", "<|endoftext|>", "x<|endoftext|>y", "  <|endoftext|>  y",
    "<|im_start|>user\nHi<|im_end|>\n", "<|im_start|><|im_end|>", "<|im_start", "<|begin_of_text|>Hi<|eot_id|>", "<0x41><0x0A>", "<0xE2>",
    "word tokenword token tokens", "tokenword", "_token", "token!", " LSTRIP ", "a   LSTRIP   b", "a   RSTRIP   b", "RSTRIP\n\nLSTRIP RSTRIP  LSTRIP",
    "a   BOTH   b", "BOTH  BOTH", "longer longest long lo", "<tool><tool_call><tool_call_x>", "ÄSpecial\u0308", "caf\u00e9tok cafe\u0301tok",
    "ĠHello Ċ ġ Ł", "don't can't we've she'd you're it'll I'm 's 't 'S 'T", "''''s", "'", "\"quoted\" (paren) [bracket] {brace}",
    "http://example.com/a?b=c&d=%20#e", "user@example.com", "C:\\path\\file.txt", "a_b-c.d,e;f:g", "...", "…", "—–-", "¿Qué? ¡Sí!",
    "\u0130stanbul ISTANBUL ıi", "Σίσυφος ΣΑΣ", "ǅ ǆ Ǆ", "𝐁𝐨𝐥𝐝 𝟙𝟚", "𠀀𠮷", "\u1100\u1161\u11a8", "Ａｂｃ１２３",
    "The end.   \n\n  ", "   leading", "trailing   ", "\n leading newline", " \n\n x \n\n ",
]


def random_texts(count):
    """Mixed text from a fixed seed: words, blanks and odd characters next to each other."""
    rng = random.Random(7)
    parts = ["the", "fox", "über", "12", "345", " ", "  ", "\n", "\t", "😀", "é", "e\u0301", "模型", "'s", "'ll", ".", ",", "!!", "<s>", "</s>",
             "\u00a0", "ß", "\u200d", "\u2581", "A", "zz", "RSTRIP", "LSTRIP", "<|im_end|>", "漢", "\r\n", "½", "_", "-", "\u0301"]
    return ["".join(rng.choice(parts) for _ in range(rng.randint(1, 25))) for _ in range(count)]


R1 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
R2 = R1.replace(r"\p{N}{1,3}", r"\p{N}")
R3 = (r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"
      r"|\s*[\r\n]+|\s+(?!\S)|\s+")
BLOOM = " ?[^(\\s|[.,!?…。，、।۔،])]+"
# GPT-4o's, with possessive quantifiers and \p{M}, as newer models use it.
O200K = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def split(expression, behavior="isolated", invert=False):
    return pre_tokenizers.Split(Regex(expression), behavior, invert)


def byte_level(use_regex=False, prefix=False):
    return pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=use_regex)


def train(tok, vocab_size, specials, alphabet):
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=specials, initial_alphabet=alphabet, show_progress=False)
    tok.train_from_iterator(CORPUS, trainer)
    return tok


def bytelevel_family(specials, pre, norm=None, size=620, **bpe):
    tok = Tokenizer(models.BPE(**bpe))
    if norm:
        tok.normalizer = norm
    tok.pre_tokenizer = pre
    train(tok, size, specials, pre_tokenizers.ByteLevel.alphabet())
    tok.decoder = decoders.ByteLevel()
    tok.post_processor = processors.ByteLevel(trim_offsets=False)
    return tok


def tricky_added(tok):
    """Added tokens with every flag."""
    tok.add_tokens([
        AddedToken("word token", single_word=True, normalized=False),
        AddedToken("token", single_word=True, normalized=True),
        AddedToken("LSTRIP", lstrip=True, normalized=False),
        AddedToken("RSTRIP", rstrip=True, normalized=False),
        AddedToken("BOTH", lstrip=True, rstrip=True, normalized=True),
        AddedToken("long", normalized=False), AddedToken("longest", normalized=False),
        AddedToken("caf\u00e9tok", normalized=True),
        AddedToken("<tool>", normalized=False), AddedToken("<tool_call>", normalized=False),
    ])
    return tok


def gpt_neox():
    tok = bytelevel_family(["<|endoftext|>", "<|padding|>"], byte_level(True), normalizers.NFC())
    tok.add_tokens([AddedToken(" " * n, normalized=True) for n in range(24, 1, -1)])
    return tok


def gpt2():
    return tricky_added(bytelevel_family(["<|endoftext|>"], byte_level(True)))


def opt():
    tok = bytelevel_family(["<pad>", "</s>", "<unk>"], byte_level(True))
    tok.post_processor = processors.TemplateProcessing(single="</s> $A", pair="</s> $A </s> $B",
                                                       special_tokens=[("</s>", tok.token_to_id("</s>"))])
    return tok


def llama3():
    specials = ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"]
    tok = bytelevel_family(specials, pre_tokenizers.Sequence([split(R1), byte_level()]), ignore_merges=True)
    # A word that no merge makes: ignore_merges must find it.
    data = json.loads(tok.to_str())
    data["model"]["vocab"]["ĠHello"] = max(data["model"]["vocab"].values()) + 1
    tok = Tokenizer.from_str(json.dumps(data))
    tok.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single="<|begin_of_text|> $A", pair="<|begin_of_text|> $A <|begin_of_text|> $B",
                                      special_tokens=[("<|begin_of_text|>", tok.token_to_id("<|begin_of_text|>"))])])
    return tok


def qwen2():
    tok = bytelevel_family(["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
                           pre_tokenizers.Sequence([split(R2), byte_level()]), normalizers.NFC())
    return tricky_added(tok)


def deepseek():
    pre = pre_tokenizers.Sequence([split(r"\p{N}{1,3}"), split("[一-龥\u3040-ゟ゠-ヿ]+"), split(R3), byte_level()])
    return bytelevel_family(["<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"], pre)


def bloom():
    return bytelevel_family(["<unk>", "<s>", "</s>", "<pad>"], pre_tokenizers.Sequence([split(BLOOM), byte_level()]))


def o200k():
    return bytelevel_family(["<|endoftext|>"], pre_tokenizers.Sequence([split(O200K), byte_level()]))


def spm_family(legacy, scheme="first", do_split=False, size=760):
    specials = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]
    tok = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    # Trained in words (as sentencepiece does), used without a split.
    tok.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=True)
    train(tok, size, specials, [])
    data = json.loads(tok.to_str())
    data["added_tokens"] = data["added_tokens"][:3]  # the byte tokens are only vocabulary
    tok = Tokenizer.from_str(json.dumps(data))
    strip = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    if legacy:
        tok.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        tok.pre_tokenizer = None
        tok.decoder = strip
    else:
        tok.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=do_split)
        tok.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme=scheme)]) if do_split else strip
    tok.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)])
    return tok


def llama2():
    return tricky_added(spm_family(True))


def mistral():
    return tricky_added(spm_family(False))


def metaspace_always():
    return spm_family(False, "always", True)


def without_bytes(fuse, **more):
    """Unknown characters without byte fallback; subword prefix and end-of-word suffix."""
    tok = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=fuse, **more))
    tok.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase(), normalizers.Strip()])
    tok.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Digits(True), pre_tokenizers.Punctuation()])
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False, limit_alphabet=60, **more)
    tok.train_from_iterator(CORPUS[:6], trainer)
    tok.decoder = decoders.BPEDecoder(suffix=more.get("end_of_word_suffix", "</w>"))
    tok.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 1))
    return tok


def half_bytes():
    """Byte fallback for some bytes only: the unknown token and byte tokens meet."""
    vocab = {"<unk>": 0, "a": 1, "b": 2, "<0xC3>": 3, "<0xA4>": 4, "ab": 5}
    tok = Tokenizer(models.BPE(vocab, [("a", "b")], unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tok.decoder = decoders.ByteFallback()
    return tok


FAMILIES = {
    "gpt2": gpt2, "gpt_neox": gpt_neox, "opt": opt, "llama3": llama3, "qwen2": qwen2, "deepseek": deepseek, "bloom": bloom,
    "o200k": o200k, "llama2": llama2, "mistral": mistral, "metaspace_always": metaspace_always,
    "prefix": lambda: without_bytes(True, continuing_subword_prefix="##"),
    "suffix": lambda: without_bytes(False, end_of_word_suffix="</w>"),
    "half_bytes": half_bytes,
}


def compact(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def dump_family(name, tok):
    texts = TEXTS + random_texts(16)
    if name in ("gpt_neox", "bloom", "deepseek", "o200k", "opt", "metaspace_always", "prefix", "suffix"):
        texts = texts[::2]
    if name == "half_bytes":
        texts = ["ab", "äb", "xä", "xyä", "xäyäz", "aäbxx", "€", "ä€b"]
    cases = []
    for text in texts:
        ids = tok.encode(text).ids
        plain = tok.encode(text, add_special_tokens=False).ids
        tok.encode_special_tokens = True
        raw = tok.encode(text, add_special_tokens=False).ids
        tok.encode_special_tokens = False
        decoded = tok.decode(ids)
        case = {"text": text, "ids": ids}  # what is left out equals what stands before it
        for key, value, default in (("plain", plain, ids), ("raw", raw, plain), ("decoded", decoded, text),
                                    ("all", tok.decode(ids, skip_special_tokens=False), decoded)):
            if value != default:
                case[key] = value
        cases.append(case)
    rng = random.Random(11)
    for _ in range(25):  # ids that no text gives: halves of characters, byte tokens in any order
        ids = [rng.randrange(tok.get_vocab_size()) for _ in range(rng.randint(1, 12))]
        cases.append({"ids": ids, "decoded": tok.decode(ids), "all": tok.decode(ids, skip_special_tokens=False)})
    body = ",\n".join(compact(case) for case in cases)
    (OUT / f"tokenizer_{name}.json").write_text('{"tokenizer":' + compact(json.loads(tok.to_str())) + ',\n"cases":[\n' + body + "\n]}\n")


COMPONENT_TEXTS = ["", " ", "a b", "  a  bb   c ", "x1y22z333 ½²", "a,b;;c!?—d", "▁a▁▁b", "caf\u00e9 cafe\u0301 ﬁ Ω \u212b", "İSTANBUL ΣΑΣ ǅ", "a\n\nb\tc\u00a0d\u3000e",
                   "don't 12345 🚀x", "ab1cab22", "--a--b--", "\u2028x\u0085y", "a\u200db\u200cc_d"]


def decode_or_none(decoder, tokens):
    """The Rust library reads out of range when Strip finds a token shorter than what it takes."""
    try:
        return decoder.decode(tokens)
    except BaseException:  # pyo3's PanicException is no Exception
        return None


def component_cases():
    pre = pre_tokenizers
    rows = []
    for behavior in ("isolated", "removed", "merged_with_previous", "merged_with_next", "contiguous"):
        for invert in (False, True):
            for expression in (r"\s", r"\s+", r"\d", "a|b", "(?=[bc])", "x*"):
                rows.append(split(expression, behavior, invert))
        rows.append(pre.Split(" ", behavior))
        rows.append(pre.Split("--", behavior, True))
        rows.append(pre.Punctuation(behavior))
    rows += [split(x) for x in (R1, R2, R3, BLOOM, O200K, r"^\w", ".")]
    rows += [pre.Digits(True), pre.Digits(False), pre.Whitespace(), pre.WhitespaceSplit(), byte_level(True), byte_level(False, True), byte_level(True, True)]
    for scheme in ("always", "first", "never"):
        rows += [pre.Metaspace("▁", scheme, s) for s in (True, False)]
    rows.append(pre.Sequence([pre.WhitespaceSplit(), pre.Metaspace("▁", "first", True)]))
    rows.append(pre.Sequence([pre.WhitespaceSplit(), byte_level(False, True)]))
    out = []
    for row in rows:
        tok = Tokenizer(models.BPE())
        tok.pre_tokenizer = row
        spec = json.loads(tok.to_str())["pre_tokenizer"]
        out.append({"kind": "pre_tokenizer", "json": spec,
                    "cases": [[t, [p for p, _ in row.pre_tokenize_str(t)]] for t in COMPONENT_TEXTS]})
    norm = normalizers
    for row in (norm.NFC(), norm.NFD(), norm.NFKC(), norm.NFKD(), norm.Lowercase(), norm.Strip(), norm.Strip(left=False), norm.Strip(right=False),
                norm.Prepend("▁"), norm.Replace(" ", "▁"), norm.Replace(Regex(r"\s+"), " "), norm.Replace("a", ""), norm.Sequence([norm.NFD(), norm.Lowercase()])):
        tok = Tokenizer(models.BPE())
        tok.normalizer = row
        spec = json.loads(tok.to_str())["normalizer"]
        out.append({"kind": "normalizer", "json": spec, "cases": [[t, row.normalize_str(t)] for t in COMPONENT_TEXTS]})
    token_lists = [["▁Hello", "▁▁wor", "ld▁"], ["<0xE2>", "<0x96>", "<0x81>", "a"], ["<0xE2>", "a", "<0x96>"], ["<0xc3>", "<0xA4>"], ["  a", "b  ", "  "],
                   ["ĠHello", "Ã", "¤", "Ã", "<s>", "x y"], ["a</w>", "b", "c</w>"], [" ", " x"], ["é", "▁é"]]
    dec = decoders
    for row in (dec.ByteLevel(), dec.ByteFallback(), dec.Fuse(), dec.Strip(" ", 1, 0), dec.Strip(" ", 1, 1), dec.Strip("a", 0, 2), dec.Replace("▁", " "),
                dec.Metaspace(), dec.Metaspace("▁", "never"), dec.BPEDecoder(), dec.Sequence([dec.Fuse(), dec.Strip(" ", 1, 1)]),
                dec.Sequence([dec.Replace("▁", " "), dec.ByteFallback(), dec.Fuse(), dec.Strip(" ", 1, 0)]), dec.Sequence([dec.ByteFallback(), dec.Metaspace()])):
        tok = Tokenizer(models.BPE())
        tok.decoder = row
        spec = json.loads(tok.to_str())["decoder"]
        out.append({"kind": "decoder", "json": spec, "cases": [[t, d] for t in token_lists if (d := decode_or_none(row, t)) is not None]})
    return out


# Chat templates in the style of well-known models, written for these tests, are files of data/templates.
TOOL = {"type": "function", "function": {"name": "get_weather", "description": "The weather of a city", "parameters": {"type": "object", "properties": {"city": {"type": "string", "enum": ["Köln", "東京"]}, "days": {"type": "integer", "default": 3}}, "required": ["city"]}}}
CONVERSATIONS = [
    {"messages": [{"role": "user", "content": "Hi"}]},
    {"messages": [{"role": "user", "content": "  Hi\n\nthere  "}, {"role": "assistant", "content": " Hello! "}, {"role": "user", "content": "Bye 😀"}]},
    {"messages": [{"role": "system", "content": "Be terse.\n"}, {"role": "user", "content": "Was ist 1+1?"}, {"role": "assistant", "content": "<think>\neasy\n</think>\n\n2"}, {"role": "user", "content": "und 2+2?"}]},
    {"messages": [{"role": "system", "content": "Tools."}, {"role": "user", "content": "Weather?"}, {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": {"name": "get_weather", "arguments": {"city": "Köln", "days": 2}}}]},
                  {"role": "tool", "name": "get_weather", "content": "rain"}, {"role": "assistant", "content": "It rains."}], "tools": [TOOL]},
    {"messages": [{"role": "user", "content": "<tool_response>x</tool_response>"}, {"role": "assistant", "content": "ok"}], "tools": None, "enable_thinking": False, "date_string": "1 Jan 2030"},
    {"messages": [{"role": "assistant", "content": "first"}, {"role": "user", "content": "second"}]},
]


def template_environment():
    """As transformers sets it up (utils/chat_template_utils.py)."""
    import jinja2
    import jinja2.ext
    import jinja2.sandbox

    class Generation(jinja2.ext.Extension):
        tags = {"generation"}

        def parse(self, parser):
            line = next(parser.stream).lineno
            body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
            return jinja2.nodes.CallBlock(self.call_method("_render"), [], [], body).set_lineno(line)

        def _render(self, caller):
            return caller()

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    env = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
    env.filters["tojson"] = lambda x, ensure_ascii=False, indent=None, separators=None, sort_keys=False: json.dumps(
        x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
    env.globals["raise_exception"] = raise_exception
    return env


def render(env, source, variables):
    try:
        return env.from_string(source).render(**variables)
    except Exception as error:  # None stands for "must fail"
        return None if isinstance(error, Exception) else error


def template_cases():
    env = template_environment()
    cases = []
    for path in sorted((OUT / "templates").glob("*.jinja")):
        for conversation in CONVERSATIONS:
            for prompt in (False, True):
                variables = {**conversation, "add_generation_prompt": prompt, "bos_token": "<s>", "eos_token": "</s>"}
                cases.append({"name": path.name, "variables": variables, "output": render(env, path.read_text(), variables)})
    snippets = json.loads((OUT / "snippets.json").read_text())
    for source in ["{{ " + e + " }}" for e in snippets["expressions"]] + snippets["blocks"]:
        output = render(env, source, {})
        assert output is not None, source
        cases.append({"source": source, "variables": {}, "output": output})
    for source in snippets["failures"]:
        assert render(env, source, {}) is None, source
        cases.append({"source": source, "variables": {}, "output": None})
    return cases


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    for name, build in FAMILIES.items():
        dump_family(name, build())
    (OUT / "components.json").write_text("[\n" + ",\n".join(compact(c) for c in component_cases()) + "\n]\n")
    (OUT / "chat_templates.json").write_text("[\n" + ",\n".join(compact(c) for c in template_cases()) + "\n]\n")


if __name__ == "__main__":
    main()
