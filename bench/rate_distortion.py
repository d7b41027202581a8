#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures bits per weight against SQNR (Gaussian and Student-t5 weights) and against KL divergence (the model that ships),
and draws docs/rate_distortion.svg.

    bench/rate_distortion.py build/release/codecllm [--llama-quantize PATH]

Points are kept in docs/rate_distortion.json. Those of ggml need llama.cpp's `llama-quantize` (called with INPUT OUTPUT and
the number of a file type); without it they stay as they are in that file. With `--draw` nothing is
measured.

SQNR: one matrix [512, 2048]. KL: nats per token against the BF16 original, first 40,000 bytes of heldout.txt, compute a16;
linear layers quantized, the embedding in the original's 16 bits on all sides.
"""
import argparse
import array
import json
import math
import os
import random
import shlex
import struct
import subprocess
import sys
import tempfile

MODEL = "models/codecllm-stories"
ROWS, COLUMNS = 512, 2048
RATES = [2, 2.5, 3, 3.5, 4, 4.5, 5, 5.5, 6, 6.5, 7, 8]
GROUPS = [f"int{bits}-g128" for bits in range(2, 9)]
# Name of a ggml type; the number of a file type that has it in the first q_proj, and its own.
GGML_TYPES = {"Q2_K": (10, 10), "Q3_K": (11, 11), "Q4_0": (2, 2), "Q4_K": (14, 12), "Q5_0": (8, 6), "Q5_K": (16, 13), "Q6_K": (18, 14), "Q8_0": (7, 8)}
GGML_FILES = {"Q2_K": 10, "Q3_K_M": 12, "Q4_0": 2, "Q4_K_M": 15, "Q5_K_M": 17, "Q6_K": 18, "Q8_0": 7}
# Values and bytes of a block, of the types that those files hold (src/format/ggml_type.def).
GGML_BLOCKS = {0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 10: (256, 84), 11: (256, 110),
               12: (256, 144), 13: (256, 176), 14: (256, 210), 30: (1, 2)}


# The sizes of Q3_K_M, Q4_K_M, Q5_K_M and Q6_K are among them.
KL_RATES = [2.5, 3, 3.5, 3.84, 4.25, 4.7, 5.1, 5.6, 6, 6.56, 7]


def schemes_of(series, rates, fp8):
    """(label, scheme) of a series of ours."""
    return {"coded": [(f"coded-{rate:g}", f"coded-{rate:g}") for rate in sorted(rates)], "int-g128": [(name, name) for name in GROUPS],
            "fp8": [("FP8", fp8)], "ggml": []}[series]


def run(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def bf16_bytes(values):
    bits = array.array("I")
    bits.frombytes(array.array("f", values).tobytes())
    return array.array("H", ((value + 0x7FFF + (value >> 16 & 1)) >> 16 for value in bits)).tobytes()


def floats_of(data):
    bits = array.array("H")
    bits.frombytes(data)
    out = array.array("f")
    out.frombytes(array.array("I", (value << 16 for value in bits)).tobytes())
    return out


def tensor_place(path, name):
    """(offset, bytes) of a tensor in a safetensors file."""
    with open(path, "rb") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        begin, end = json.loads(file.read(size))[name]["data_offsets"]
    return 8 + size + begin, end - begin


def read_tensor(path, name):
    offset, count = tensor_place(path, name)
    with open(path, "rb") as file:
        file.seek(offset)
        return file.read(count)


def write_model(path, draw):
    """A Llama of one small block whose q_proj holds ROWS x COLUMNS weights of `draw`."""
    os.makedirs(path)
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": COLUMNS, "intermediate_size": 256,
              "num_hidden_layers": 1, "num_attention_heads": 8, "num_key_value_heads": 1, "head_dim": 64, "vocab_size": 2048,
              "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": True,
              "torch_dtype": "bfloat16"}
    with open(f"{path}/config.json", "w") as file:
        json.dump(config, file)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        with open(f"{MODEL}/{name}") as source, open(f"{path}/{name}", "w") as file:
            file.write(source.read())
    block = "model.layers.0."
    shapes = {"model.embed_tokens": [2048, COLUMNS], "model.norm": [COLUMNS], block + "input_layernorm": [COLUMNS],
              block + "post_attention_layernorm": [COLUMNS], block + "self_attn.q_proj": [ROWS, COLUMNS],
              block + "self_attn.k_proj": [64, COLUMNS], block + "self_attn.v_proj": [64, COLUMNS],
              block + "self_attn.o_proj": [COLUMNS, 512], block + "mlp.gate_proj": [256, COLUMNS],
              block + "mlp.up_proj": [256, COLUMNS], block + "mlp.down_proj": [COLUMNS, 256]}
    rng = random.Random(1)
    matrix = bf16_bytes(draw(rng) for _ in range(ROWS * COLUMNS))
    header, parts, at = {}, [], 0
    for name, shape in shapes.items():
        count = 2 * math.prod(shape)
        parts.append(matrix[:count] if count <= len(matrix) else (matrix * 4)[:count])
        header[name + ".weight"] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + count]}
        at += count
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(f"{path}/model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(parts))


def gaussian(rng):
    return rng.gauss(0, 0.02)


def student_t5(rng):
    return 0.02 * rng.gauss(0, 1) / math.sqrt(rng.gammavariate(2.5, 2) / 5)


def gguf_linear_bits(path):
    """Bits per weight of a GGUF file's matrices other than the embedding."""
    sizes = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
    with open(path, "rb") as file:
        def number(form):
            return struct.unpack("<" + form, file.read(struct.calcsize("<" + form)))[0]

        def skip(kind):
            if kind == 8:
                file.seek(number("Q"), 1)
            elif kind == 9:
                inner, count = number("I"), number("Q")
                if inner in sizes:
                    file.seek(sizes[inner] * count, 1)
                else:
                    for _ in range(count):
                        skip(inner)
            else:
                file.seek(sizes[kind], 1)

        file.seek(8)
        tensors, keys = number("Q"), number("Q")
        for _ in range(keys):
            file.seek(number("Q"), 1)
            skip(number("I"))
        bits = weights = 0
        for _ in range(tensors):
            name = file.read(number("Q")).decode()
            count = math.prod(number("Q") for _ in range(number("I")))
            values, size = GGML_BLOCKS[number("I")]
            number("Q")
            if name.startswith("blk.") and not name.endswith("norm.weight"):
                bits += 8 * count / values * size
                weights += count
    return bits / weights


class Measurement:
    def __init__(self, codecllm, llama_quantize, folder):
        self.codecllm, self.quantizer, self.folder = codecllm, llama_quantize, folder
        self.text = f"{folder}/text.txt"
        with open(f"{MODEL}/heldout.txt", "rb") as source, open(self.text, "wb") as file:
            file.write(source.read(40000))
        self.serial = 0

    def fresh(self):
        self.serial += 1
        return f"{self.folder}/{self.serial}"

    def quantized(self, model, scheme, *options):
        out = self.fresh()
        return out, json.loads(run(self.codecllm, "quantize", model, "-o", out, "--scheme", scheme, "--json", "-q", *options))

    def from_ggml(self, model, number):
        """A BF16 checkpoint of what llama.cpp's quantizer makes of the model, and its GGUF file."""
        plain, packed, out = self.fresh() + ".gguf", self.fresh() + ".gguf", self.fresh()
        run(self.codecllm, "convert", model, "-o", plain, "--to", "gguf", "-q", "--json")
        run(*self.quantizer, plain, packed, str(number))
        run(self.codecllm, "convert", packed, "-o", out, "--to", "bf16", "-q", "--json")
        return out, packed

    def linear_bits(self, model):
        """Of the linear layers with their scales: the embedding, which coded presets code bit-exactly, does not count."""
        return json.loads(run(self.codecllm, "inspect", model, "--json", "-q"))["bits_per_weight"]

    def sqnr(self, draw, series):
        """Points [label, bits per weight, dB] of one series."""
        model, name = self.fresh(), "model.layers.0.self_attn.q_proj"
        write_model(model, draw)
        points = []
        for label, scheme in schemes_of(series, RATES, "fp8-channel"):
            _, result = self.quantized(model, scheme, "--only", name)
            layer = next(layer for layer in result["layers"] if layer["name"] == name)
            points.append([label, result["bits_per_weight"], layer["sqnr_db"]])
        if series != "ggml":
            return points
        source = floats_of(read_tensor(f"{model}/model.safetensors", name + ".weight"))
        energy = math.fsum(value * value for value in source)
        for label, (number, kind) in GGML_TYPES.items():
            out, _ = self.from_ggml(model, number)
            values = floats_of(read_tensor(f"{out}/model.safetensors", name + ".weight"))
            error = math.fsum((a - b) ** 2 for a, b in zip(source, values))
            block_values, block_bytes = GGML_BLOCKS[kind]
            points.append([label, 8 * block_bytes / block_values, 10 * math.log10(energy / error)])
        return points

    def kl(self, series):
        """Points [label, bits per weight, nats] of one series."""
        def divergence(model):
            return json.loads(run(self.codecllm, "perplexity", model, "--text", self.text, "--reference", MODEL, "--json", "-q"))["kl_mean"]

        points = []
        for label, scheme in schemes_of(series, KL_RATES, "fp8-coded"):
            out, _ = self.quantized(MODEL, scheme)
            points.append([label, self.linear_bits(out), divergence(out)])
        if series == "fp8":
            points[0][1] = self.linear_bits(self.quantized(MODEL, "fp8-channel")[0])  # the same codes stored plainly
        if series == "ggml":
            embedding = read_tensor(f"{MODEL}/model.safetensors", "model.embed_tokens.weight")
            for label, number in GGML_FILES.items():
                out, packed = self.from_ggml(MODEL, number)
                offset, count = tensor_place(f"{out}/model.safetensors", "model.embed_tokens.weight")
                assert count == len(embedding)
                with open(f"{out}/model.safetensors", "r+b") as file:
                    file.seek(offset)
                    file.write(embedding)
                points.append([label, gguf_linear_bits(packed), divergence(out)])
        return sorted(points, key=lambda point: point[1])


SERIES = {"coded": ("coded-B (ours)", "#0b6e4f", "circle"), "ggml": ("ggml (llama.cpp)", "#c2571a", "square"),
          "int-g128": ("INT, groups of 128", "#3457a6", "triangle"), "fp8": ("FP8 E4M3 per row", "#7a2f8f", "diamond")}


PARTS = [f"{key}:{series}" for key in ("gaussian", "student_t5", "kl") for series in SERIES]


class Panel:
    WIDTH, HEIGHT = 400, 400

    def __init__(self, left, title, label, x_range, y_range, log=False):
        self.left, self.top, self.x_range, self.y_range, self.log = left, 40, x_range, y_range, log
        self.parts = [f'<text x="{left + self.WIDTH / 2}" y="24" class="title">{title}</text>',
                      f'<rect x="{left}" y="{self.top}" width="{self.WIDTH}" height="{self.HEIGHT}" class="frame"/>',
                      f'<text x="{left + self.WIDTH / 2}" y="{self.top + self.HEIGHT + 36}" class="axis">bits per weight</text>',
                      f'<text transform="translate({left - (52 if log else 34)} {self.top + self.HEIGHT / 2}) rotate(-90)" class="axis">{label}</text>']
        for bits in range(math.ceil(x_range[0]), math.floor(x_range[1]) + 1):
            x, _ = self.place(bits, y_range[0])
            self.parts.append(f'<path d="M{x:.1f} {self.top}v{self.HEIGHT}" class="grid"/><text x="{x:.1f}" y="{self.top + self.HEIGHT + 16}" class="tick">{bits}</text>')
        ticks = [10.0 ** n for n in range(round(math.log10(y_range[0])), round(math.log10(y_range[1])) + 1)] if log else range(10, 51, 10)
        for value in ticks:
            _, y = self.place(x_range[0], value)
            self.parts.append(f'<path d="M{left} {y:.1f}h{self.WIDTH}" class="grid"/><text x="{left - 6}" y="{y + 4:.1f}" class="right">{value:g}</text>')

    def place(self, bits, value):
        scale = math.log10 if self.log else float
        low, high = map(scale, self.y_range)
        return (self.left + self.WIDTH * (bits - self.x_range[0]) / (self.x_range[1] - self.x_range[0]),
                self.top + self.HEIGHT * (1 - (scale(value) - low) / (high - low)))

    def line(self, points, style):
        path = "L".join("{:.1f} {:.1f}".format(*self.place(*point)) for point in points)
        self.parts.append(f'<path d="M{path}" {style}/>')

    def marker(self, x, y, shape, color):
        body = {"circle": f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.2"', "square": f'<path d="M{x - 3.2:.1f} {y - 3.2:.1f}h6.4v6.4h-6.4z"',
                "triangle": f'<path d="M{x:.1f} {y - 4.2:.1f}l4 7h-8z"', "diamond": f'<path d="M{x:.1f} {y - 4.6:.1f}l4.6 4.6l-4.6 4.6l-4.6 -4.6z"'}[shape]
        self.parts.append(f'{body} fill="{color}"/>')

    def series(self, key, points):
        _, color, shape = SERIES[key]
        inside = [p for p in points if self.y_range[0] <= p[2] <= self.y_range[1] and self.x_range[0] <= p[1] <= self.x_range[1]]
        if key in ("coded", "int-g128"):
            self.line([p[1:] for p in inside], f'fill="none" stroke="{color}" stroke-width="1.3"')
        for label, bits, value in inside:
            x, y = self.place(bits, value)
            self.marker(x, y, shape, color)
            if key in ("ggml", "fp8"):
                below = not self.log
                self.parts.append(f'<text x="{x + (5 if below else 6):.1f}" y="{y + (13 if below else -4):.1f}" class="name" style="fill:{color}">{label}</text>')

    def legend(self, entries):
        x, y = self.left + 12, self.top + 18
        for label, color, shape in entries:
            if shape is None:
                self.parts.append(f'<path d="M{x - 5} {y - 4}h12" stroke="{color}" stroke-dasharray="4 3"/>')
            else:
                self.marker(x + 1, y - 4, shape, color)
            self.parts.append(f'<text x="{x + 12}" y="{y}" class="left">{label}</text>')
            y += 17


def student_t5_bound_db():
    """How far Shannon's lower bound for Student-t5 lies above the Gaussian's: the entropy that it lacks, both of variance 1."""
    digamma = lambda z: (math.lgamma(z + 1e-5) - math.lgamma(z - 1e-5)) / 2e-5
    beta = math.exp(math.lgamma(2.5) + math.lgamma(0.5) - math.lgamma(3))
    entropy = 3 * (digamma(3) - digamma(2.5)) + math.log(math.sqrt(5) * beta) - 0.5 * math.log(5 / 3)
    return 20 / math.log(10) * (0.5 * math.log(2 * math.pi * math.e) - entropy)


def draw(data, path):
    bound = 20 * math.log10(2)
    panels = [Panel(60, "Gaussian weights", "SQNR, dB", (1.8, 9.1), (5, 50)), Panel(530, "Student-t5 weights", "SQNR, dB", (1.8, 9.1), (5, 50)),
              Panel(1018, "the model that ships", "KL from BF16, nats per token", (1.8, 9.1), (1e-5, 1), log=True)]
    for panel, key, lift in ((panels[0], "gaussian", 0), (panels[1], "student_t5", student_t5_bound_db())):
        panel.line([(1.8, bound * 1.8 + lift), ((50 - lift) / bound, 50)], 'stroke="#555" stroke-dasharray="5 4"')
        for series in SERIES:
            panel.series(series, data.get(key, {}).get(series, []))
    for series in SERIES:
        panels[2].series(series, data.get("kl", {}).get(series, []))
    panels[0].legend(list(SERIES.values()) + [("Shannon's bound", "#555", None)])
    style = ("text{font:12px sans-serif;fill:#222}.title{font-size:14px;font-weight:bold}.title,.axis,.tick{text-anchor:middle}.right{text-anchor:end}"
             ".name{font-size:10px}.frame{fill:none;stroke:#888}.grid{stroke:#e3e3e3}")
    with open(path, "w") as file:
        file.write('<svg xmlns="http://www.w3.org/2000/svg" width="1440" height="490" viewBox="0 0 1440 490">\n'
                   f'<style>{style}</style><rect width="1440" height="490" fill="#fff"/>\n' + "\n".join("".join(p.parts) for p in panels) + "\n</svg>\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("codecllm", nargs="?")
    parser.add_argument("--llama-quantize", type=shlex.split, default=[])
    parser.add_argument("--draw", action="store_true")
    parser.add_argument("--part", action="append", choices=PARTS, help="measure this alone; repeatable")
    parser.add_argument("--output", default="docs/rate_distortion")
    args = parser.parse_args()
    data = {}
    if os.path.exists(args.output + ".json"):
        with open(args.output + ".json") as file:
            data = json.load(file)
    if not args.draw:
        if args.codecllm is None:
            parser.error("the program codecllm is needed to measure")
        with tempfile.TemporaryDirectory() as folder:
            measurement = Measurement(os.path.abspath(args.codecllm), args.llama_quantize, folder)
            for part in args.part or PARTS:
                key, series = part.split(":")
                if series == "ggml" and not args.llama_quantize:
                    continue
                points = measurement.kl(series) if key == "kl" else measurement.sqnr(gaussian if key == "gaussian" else student_t5, series)
                data.setdefault(key, {})[series] = [[label, round(bits, 4), float(f"{value:.4g}")] for label, bits, value in points]
        with open(args.output + ".json", "w") as file:
            file.write("{\n" + ",\n".join(f' "{key}": {{\n' + ",\n".join(f'  "{series}": {json.dumps(values)}' for series, values in sorted(sets.items())) + "\n }"
                                          for key, sets in sorted(data.items())) + "\n}\n")
    draw(data, args.output + ".svg")


main()
