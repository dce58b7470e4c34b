"""Makes valid JPEGs of every structure, and mutates a JPEG's structure.

Pillow writes only interleaved pictures with a few sampling factors. This module
writes pictures of random coefficients with any factors, any order and grouping
of scans, restart intervals and progressive scans.
"""

import io
import random
import struct

import numpy
from PIL import Image

ZIGZAG = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21,
    28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54,
    47, 55, 62, 63,
]
SOI, EOI = b"\xff\xd8", b"\xff\xd9"


def segment(marker, body):
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


class Bits:
    def __init__(self):
        self.bits = []

    def put(self, value, count):
        self.bits += [value >> i & 1 for i in range(count - 1, -1, -1)]

    def code(self, codes, symbol):
        self.put(*codes[symbol])

    def number(self, value):
        """The bits behind a symbol whose size is that of `value`."""
        size = abs(value).bit_length()
        self.put(value if value > 0 else value + (1 << size) - 1, size)

    def flush(self):
        self.bits += [1] * (-len(self.bits) % 8)
        data = numpy.packbits(numpy.array(self.bits, numpy.uint8)).tobytes()
        self.bits = []
        return data.replace(b"\xff", b"\xff\x00")


def huffman_table(rng, symbols):
    """Random lengths for the symbols: the segment's body without its first byte,
    and symbol -> (code, length)."""
    symbols = list(symbols)
    rng.shuffle(symbols)
    # A few short codes; all others are as long as necessary.
    counts, room, left = [0] * 16, 1, len(symbols)
    for length in range(16):
        room *= 2
        if length < 15 and room - 1 > 0 and left > 0:
            longest = room << (15 - length)
            fits = [n for n in range(min(left, room - 1) + 1) if (longest - (n << (15 - length))) > left - n]
            n = fits[-1] if length > 7 else rng.choice(fits[: 1 + max(1, len(fits) // 2)])
            counts[length] = n
            room -= n
            left -= n
    counts[15] = left
    codes, code, place = {}, 0, 0
    for length, count in enumerate(counts, 1):
        for symbol in symbols[place : place + count]:
            codes[symbol] = (code, length)
            code += 1
        place += count
        code <<= 1
    return bytes(counts) + bytes(symbols), codes


class Picture:
    """A picture of random coefficients."""

    def __init__(self, rng, width, height, factors, progressive):
        self.rng, self.width, self.height, self.factors = rng, width, height, factors
        self.progressive = progressive
        self.steps = [[rng.choice([1, 2, 5, 16]) + (k // 8) * rng.randrange(3) for k in range(64)] for _ in range(2)]
        if len(factors) == 1:
            self.factors = factors = [(1, 1)]
        self.max = max(h for h, _ in factors), max(v for _, v in factors)
        self.units = -(-width // (8 * self.max[0])), -(-height // (8 * self.max[1]))
        self.blocks = []
        for index, (h, v) in enumerate(factors):
            across, down = self.units[0] * h, self.units[1] * v
            blocks = numpy.zeros((down, across, 64), int)
            step = self.steps[min(index, 1)]
            blocks[:, :, 0] = numpy.random.default_rng(rng.randrange(1 << 32)).integers(-900 // step[0], 900 // step[0] + 1, (down, across))
            for y in range(down):
                for x in range(across):
                    for _ in range(rng.choice([0, 1, 3, 8, 20])):
                        k = min(63, 1 + int(rng.expovariate(0.12)))
                        size = int(rng.expovariate(1 / 90)) // step[k]
                        blocks[y, x, k] = rng.choice([-1, 1]) * min(size, 400 // step[k])
            self.blocks.append(blocks)
        self.interval = rng.choice([0, 0, 0, 1, 2, 5])

    def size(self, index):
        h, v = self.factors[index]
        across, down = -(-self.width * h // self.max[0]), -(-self.height * v // self.max[1])
        return -(-across // 8), -(-down // 8)

    def unit_blocks(self, scan):
        """Unit by unit, the (component, block) of a scan."""
        if len(scan) == 1:
            across, down = self.size(scan[0])
            for y in range(down):
                for x in range(across):
                    yield [(scan[0], (y, x))]
            return
        for uy in range(self.units[1]):
            for ux in range(self.units[0]):
                yield [
                    (c, (uy * self.factors[c][1] + y, ux * self.factors[c][0] + x))
                    for c in scan
                    for y in range(self.factors[c][1])
                    for x in range(self.factors[c][0])
                ]

    def scan(self, components, first, last, high, low):
        rng = self.rng
        head = b""
        dc = rng.randrange(4)
        ac = rng.randrange(4)
        body, dc_codes = huffman_table(rng, range(12))
        head += segment(0xC4, bytes([dc]) + body)
        body, ac_codes = huffman_table(rng, range(256))
        head += segment(0xC4, bytes([0x10 | ac]) + body)
        bits, data, restarts, since = Bits(), b"", 0, 0
        predicted = {}
        for unit in self.unit_blocks(components):
            if self.interval and since == self.interval:
                data += bits.flush() + bytes([0xFF, 0xD0 + restarts % 8])
                restarts, since, predicted = restarts + 1, 0, {}
            since += 1
            for component, at in unit:
                block = [int(v) for v in self.blocks[component][at]]
                self.block(bits, block, component, predicted, (dc_codes, ac_codes), (first, last, high, low))
        names = b"".join(bytes([self.ids[c], dc << 4 | ac]) for c in components)
        return head + segment(0xDA, bytes([len(components)]) + names + bytes([first, last, high << 4 | low])) + data + bits.flush()

    def block(self, bits, block, component, predicted, codes, part):
        dc, ac = codes
        first, last, high, low = part
        if first == 0:
            if high:
                bits.put(block[0] >> low & 1, 1)
            else:
                value = block[0] >> low
                difference = value - predicted.get(component, 0)
                predicted[component] = value
                bits.code(dc, abs(difference).bit_length())
                if difference:
                    bits.number(difference)
            first = 1
        if last == 0:
            return
        values = [int(abs(v)) >> low for v in block]
        signs = [v < 0 for v in block]
        known = [high and abs(v) >> high for v in block]
        new = [k for k in range(first, last + 1) if values[k] and not known[k]]
        run, waiting = 0, []
        for k in range(first, last + 1):
            if not new or k > new[-1]:
                break
            if known[k]:
                waiting.append(values[k] & 1)
            elif values[k]:
                value = -values[k] if signs[k] else values[k]
                bits.code(ac, run << 4 | abs(value).bit_length())
                bits.number(value)
                for bit in waiting:
                    bits.put(bit, 1)
                run, waiting = 0, []
            else:
                run += 1
                if run == 16:
                    # All sixteen zeros, and the bits that come before the next
                    # coefficient.
                    bits.code(ac, 0xF0)
                    for bit in waiting:
                        bits.put(bit, 1)
                    run, waiting = 0, []
        if not new or new[-1] < last:
            bits.code(ac, 0)
            for k in range(new[-1] + 1 if new else first, last + 1):
                if known[k]:
                    bits.put(values[k] & 1, 1)

    def script(self):
        rng = self.rng
        everything = list(range(len(self.factors)))
        if not self.progressive:
            rng.shuffle(everything)
            scans = []
            while everything:
                count = rng.randint(1, len(everything))
                group = sorted(everything[:count])
                if count > 1 and sum(self.factors[c][0] * self.factors[c][1] for c in group) > 10:
                    continue
                scans.append((group, 0, 63, 0, 0))
                everything = everything[count:]
            return scans
        groups = [everything] if sum(h * v for h, v in self.factors) <= 10 and rng.random() < 0.6 else [[c] for c in everything]
        low = rng.choice([0, 0, 1, 2])
        scans = [(group, 0, 0, 0, low) for group in groups]
        for bit in range(low, 0, -1):
            scans += [(group, 0, 0, bit, bit - 1) for group in groups]
        queues = []
        for c in everything:
            cut = rng.randint(1, 63)
            for first, last in [(1, cut)] + ([(cut + 1, 63)] if cut < 63 else []):
                low = rng.choice([0, 0, 1, 2])
                queues.append([([c], first, last, 0, low)] + [([c], first, last, b, b - 1) for b in range(low, 0, -1)])
        while queues:
            queue = rng.choice(queues)
            scans.append(queue.pop(0))
            queues = [q for q in queues if q]
        return scans

    def encode(self):
        rng = self.rng
        self.ids = rng.choice([[1, 2, 3, 4], [0, 1, 2, 3], [7, 9, 5, 200]])[: len(self.factors)]
        out = SOI
        if rng.random() < 0.5 and len(self.factors) != 4:
            out += segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0")
        for index, steps in enumerate(self.steps):
            out += segment(0xDB, bytes([index]) + bytes(steps))
        parts = b"".join(bytes([self.ids[i], h << 4 | v, min(i, 1)]) for i, (h, v) in enumerate(self.factors))
        kind = 0xC2 if self.progressive else rng.choice([0xC0, 0xC1])
        out += segment(kind, struct.pack(">BHHB", 8, self.height, self.width, len(self.factors)) + parts)
        if self.interval:
            out += segment(0xDD, struct.pack(">H", self.interval))
        for scan in self.script():
            out += self.scan(*scan)
        return out + EOI


FACTORS = [(1, 1), (2, 1), (1, 2), (2, 2), (4, 1), (1, 4), (4, 2), (2, 4), (3, 1), (1, 3), (3, 2)]


def make(rng):
    """A valid JPEG of random structure."""
    width, height = rng.randint(1, 50), rng.randint(1, 50)
    if rng.random() < 0.3:
        return by_pillow(rng, width, height)
    count = rng.choice([1, 3, 3, 3])
    factors = [rng.choice(FACTORS)] + [rng.choice([(1, 1), (1, 1), rng.choice(FACTORS)]) for _ in range(count - 1)]
    return Picture(rng, width, height, factors, rng.random() < 0.4).encode()


def by_pillow(rng, width, height):
    noise = numpy.random.default_rng(rng.randrange(1 << 32))
    y, x = numpy.mgrid[0:height, 0:width]
    waves = [128 + 90 * numpy.sin(x / rng.uniform(1, 20) + y / rng.uniform(1, 20)) for _ in range(3)]
    pixels = numpy.clip(numpy.stack(waves, 2) + noise.normal(0, rng.choice([0, 3, 30]), (height, width, 3)), 0, 255)
    image = Image.fromarray(pixels.astype(numpy.uint8)).convert(rng.choice(["L", "RGB", "RGB", "RGB"]))
    out = io.BytesIO()
    options = {"quality": rng.choice([5, 30, 75, 95, 100]), "progressive": rng.random() < 0.4, "optimize": rng.random() < 0.5}
    if rng.random() < 0.3:
        options["restart_marker_blocks"] = rng.randint(1, 9)
    if image.mode == "RGB":
        options["subsampling"] = rng.choice(["4:4:4", "4:2:2", "4:2:0"])
    image.save(out, "jpeg", **options)
    return out.getvalue()


def parts_of(data):
    """The marker segments, each scan header with its data."""
    parts, at = [], 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xD9:
        end = at + 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]
        if data[at + 1] == 0xDA:
            while end + 1 < len(data) and not (data[end] == 0xFF and data[end + 1] not in (0, 1, 0xFF, *range(0xD0, 0xD8))):
                end += 1
        parts.append(bytearray(data[at:end]))
        at = end
    return parts


def is_complete(data):
    """Whether all bits of all components were sent, according to the scan headers."""
    sent = {}
    for part in parts_of(data):
        if part[1] == 0xC2:
            sent = {number: [-1] * 64 for number in part[10::3]}
        elif part[1] == 0xDA:
            names, (first, last, bits) = part[5 : 5 + 2 * part[4] : 2], part[5 + 2 * part[4] :][:3]
            for number in names:
                for k in range(first, min(last, 63) + 1):
                    if number in sent and max(sent[number][k], 0) == bits >> 4:
                        sent[number][k] = bits & 15
    return all(bits == [0] * 64 for bits in sent.values())


def mutate(rng, data):
    """Changes the structure of a JPEG in one to three places."""
    parts = parts_of(data)
    for _ in range(rng.randint(1, 3)):
        scans = [i for i, p in enumerate(parts) if p[1] == 0xDA]
        frames = [i for i, p in enumerate(parts) if p[1] in (0xC0, 0xC1, 0xC2)]
        frame = parts[frames[0]] if frames else None
        kind = rng.randrange(16)
        if kind <= 3 and frame:
            component = rng.randrange((len(frame) - 10) // 3)
            h, v = rng.choice(FACTORS + [(0, 1), (5, 5)])
            frame[10 + 3 * component + 1] = h << 4 | v
        elif kind == 4 and len(scans) > 1:
            a, b = rng.sample(scans, 2)
            parts[a], parts[b] = parts[b], parts[a]
        elif kind == 5 and scans:
            parts.insert(rng.choice(scans), bytearray(parts[rng.choice(scans)]))
        elif kind == 6 and scans:
            del parts[rng.choice(scans)]
        elif kind == 7 and parts:
            del parts[rng.randrange(len(parts))]
        elif kind == 8 and parts:
            parts.insert(rng.randrange(len(parts) + 1), bytearray(parts[rng.randrange(len(parts))]))
        elif kind == 9 and frame:
            at = rng.choice([5, 6, 7, 8])
            frame[at] = rng.choice([0, 1, 8, 9, 16, 17, 40, 255]) if at in (6, 8) else rng.choice([0, 0, 0, 1])
        elif kind == 10 and frame:
            frame[1] = rng.choice([0xC0, 0xC1, 0xC2, 0xC3, 0xC9])
        elif kind == 11 and frame and scans:
            # One component less, or another component number, in a scan header.
            scan = parts[rng.choice(scans)]
            at = rng.randrange(4, min(len(scan), 6 + 2 * max(1, scan[4])))
            scan[at] = rng.choice([0, 1, 2, 3, 4, 0x11, 0x22, 63])
        elif kind == 12:
            interval = segment(0xDD, struct.pack(">H", rng.choice([0, 1, 2, 3, 8, 1000])))
            parts.insert(rng.randrange(len(parts) + 1), bytearray(interval))
        elif kind == 13 and scans:
            scan = parts[rng.choice(scans)]
            if len(scan) > 14:
                scan[rng.randrange(10, len(scan))] = rng.randrange(256)
        elif kind == 14 and scans:
            scan = parts[rng.choice(scans)]
            del scan[rng.randrange(8, max(9, len(scan))) :]
        elif kind == 15 and scans:
            parts[rng.choice(scans)] += bytes(rng.randrange(255) for _ in range(rng.choice([1, 2, 4, 20])))
    tail = EOI if rng.random() < 0.95 else b""
    return SOI + b"".join(bytes(p) for p in parts) + tail
