"""Records images of many formats with the pixels diffusers sees, for test/images/decode.test.ts.

Pictures are read as diffusers' load_image does: turned upright by their EXIF orientation, then convert("RGB").

Usage: python scripts/record-images.py (needs Pillow with WebP, AVIF and LittleCMS)
"""

import base64
import io
import json
import pathlib
import random
import struct
import zlib

from PIL import Image, ImageCms, ImageOps, PngImagePlugin

WIDTH, HEIGHT = 13, 10
ORIENTATION = 0x0112
TARGET = pathlib.Path(__file__).parent.parent / "test/fixtures/images/decode"
files = {}


def scene(channels, seed=0, size=(WIDTH, HEIGHT)):
    """A smooth image with a little noise, so that lossy formats have something to keep."""
    rng = random.Random(seed)
    small = Image.frombytes("L", (4 * channels, 3), rng.randbytes(12 * channels))
    bands = [small.crop((4 * c, 0, 4 * c + 4, 3)).resize(size, Image.Resampling.BICUBIC) for c in range(channels)]
    bands = [band.point(lambda v: max(0, min(255, v + rng.randint(-3, 3)))) for band in bands]
    return Image.merge({1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[channels], bands)


def save(name, image, **options):
    stream = io.BytesIO()
    image.save(stream, {"jpg": "JPEG", "tif": "TIFF"}.get(name.split(".")[-1], name.split(".")[-1]), **options)
    files[name] = stream.getvalue()


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(depth, colour, rows, extra=b""):
    """A PNG of one of the kinds that Pillow does not write."""
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, depth, colour, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def rows_of(data):
    size = len(data) // HEIGHT
    return [data[y * size : (y + 1) * size] for y in range(HEIGHT)]


def packed(image, depth):
    rows = []
    for row in rows_of(image.tobytes()):
        bits = "".join(format(value >> (8 - depth), f"0{depth}b") for value in row)
        bits += "0" * (-len(bits) % 8)
        rows.append(bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)))
    return rows


def swapped_profile():
    """An sRGB profile with red and blue swapped, so that applying it is visible."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    entries = {bytes(profile[o : o + 4]): o + 4 for o in range(132, 132 + 12 * profile[131], 12)}
    red, blue = entries[b"rXYZ"], entries[b"bXYZ"]
    profile[red : red + 8], profile[blue : blue + 8] = profile[blue : blue + 8], profile[red : red + 8]
    return bytes(profile)


def exif(orientation):
    data = Image.Exif()
    data[ORIENTATION] = orientation
    return data


def xmp(orientation):
    return (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="%d"/></rdf:RDF></x:xmpmeta>'
        % orientation
    )


def make_png(rgb, rgba, gray, profile):
    palette = rgb.quantize(16)
    noise = random.Random(1).randbytes
    save("rgb.png", rgb)
    save("rgba.png", rgba)
    save("gray.png", gray)
    save("gray-alpha.png", scene(2))
    save("palette.png", palette)
    save("palette-transparent.png", palette, transparency=bytes(range(0, 256, 16)))
    save("rgb-key.png", rgb, transparency=rgb.getpixel((0, 0)))
    save("gray-key.png", gray, transparency=gray.getpixel((0, 0)))
    save("bilevel.png", gray.convert("1"))
    for depth in (2, 4):
        files[f"gray-{depth}-bit.png"] = png(depth, 0, packed(gray, depth))
    for name, colour, samples in (("gray", 0, 1), ("rgb", 2, 3), ("gray-alpha", 4, 2), ("rgba", 6, 4)):
        files[f"{name}-16-bit.png"] = png(16, colour, rows_of(noise(WIDTH * HEIGHT * samples * 2)))
    files["gamma.png"] = png(8, 2, rows_of(rgb.tobytes()), chunk(b"gAMA", struct.pack(">I", 100000)))
    files["background.png"] = png(8, 6, rows_of(rgba.tobytes()), chunk(b"bKGD", struct.pack(">3H", 255, 0, 0)))
    save("profile.png", rgb, icc_profile=profile)
    save("profile-broken.png", rgb, icc_profile=b"not a profile" * 10)
    save("animated.png", rgb, save_all=True, append_images=[scene(3, 9)], duration=100)
    save("exif-5.png", rgb, exif=exif(5))
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", xmp(6).decode())
    save("xmp-6.png", rgb, pnginfo=info)


def make_jpeg(rgb, gray, profile):
    for subsampling, name in ((0, "444"), (1, "422"), (2, "420")):
        save(f"{name}.jpg", rgb, quality=90, subsampling=subsampling)
    save("progressive.jpg", rgb, progressive=True)
    save("gray.jpg", gray)
    save("rgb.jpg", rgb, keep_rgb=True)
    save("profile.jpg", rgb, icc_profile=profile)
    save("restart.jpg", rgb, restart_marker_blocks=1)
    for orientation in range(10):
        save(f"exif-{orientation}.jpg", rgb, exif=exif(orientation), quality=90, subsampling=0)
    save("xmp-6.jpg", rgb, xmp=xmp(6))
    save("xmp-6-exif-8.jpg", rgb, xmp=xmp(6), exif=exif(8))
    ink = Image.merge("CMYK", (*rgb.split(), gray))
    save("cmyk.jpg", ink, quality=90)
    save("cmyk-profile.jpg", ink, quality=90, icc_profile=profile)
    data = files["cmyk.jpg"]
    marker = data.find(b"\xff\xee")
    length = struct.unpack(">H", data[marker + 2 : marker + 4])[0]
    files["cmyk-unmarked.jpg"] = data[:marker] + data[marker + 2 + length :]
    ycck = bytearray(data)
    ycck[ycck.find(b"Adobe") + 11] = 2
    files["ycck.jpg"] = bytes(ycck)
    files["trailing-bytes.jpg"] = files["444.jpg"] + b"more" * 20


def move_frame(data, left, top, width, height):
    """Puts the first frame of a GIF somewhere on a larger screen."""
    data = bytearray(data)
    data[6:10] = struct.pack("<HH", width, height)
    at = 13 + (3 << ((data[10] & 7) + 1) if data[10] & 0x80 else 0)
    while data[at] == 0x21:
        at += 2
        while data[at]:
            at += data[at] + 1
        at += 1
    data[at + 1 : at + 5] = struct.pack("<HH", left, top)
    return bytes(data)


def adobe(transform):
    return b"\xff\xee\x00\x0eAdobe\x00\x64\0\0\0\0" + bytes([transform])


def renamed(data, names):
    """A JPEG whose components have other identifiers, in its frame and in its one scan."""
    data = bytearray(data)
    frame, scan = data.index(b"\xff\xc0"), data.index(b"\xff\xda")
    for i, name in enumerate(names):
        data[frame + 10 + 3 * i] = data[scan + 5 + 2 * i] = name
    return bytes(data)


def make_jpeg_colors(rgb):
    """Every way to declare, or omit, the colour space of a JPEG."""
    segment, rest = files["444.jpg"][2:20], files["444.jpg"][20:]
    bare_rgb = b"\xff\xd8" + files["rgb.jpg"][files["rgb.jpg"].index(b"\xff\xdb") :]
    files["ycc-unmarked.jpg"] = b"\xff\xd8" + rest
    files["ycc-other-ids.jpg"] = b"\xff\xd8" + renamed(rest, b"xyz")
    files["rgb-ids-only.jpg"] = renamed(bare_rgb, b"RGB")
    files["rgb-ids-jfif.jpg"] = b"\xff\xd8" + segment + renamed(bare_rgb, b"RGB")[2:]
    for transform in (0, 1, 2):
        files[f"adobe-{transform}.jpg"] = b"\xff\xd8" + adobe(transform) + rest
        files[f"adobe-{transform}-jfif.jpg"] = b"\xff\xd8" + segment + adobe(transform) + rest
    files["adobe-twice.jpg"] = b"\xff\xd8" + adobe(0) + adobe(1) + rest
    cmyk = files["cmyk-unmarked.jpg"]
    files["cmyk-adobe-1.jpg"] = b"\xff\xd8" + adobe(1) + cmyk[2:]


def tiff(samples, photometric, bits, changes=None, order="<"):
    """A deflated TIFF of one strip; `changes` are further tags by number, each with TIFF's number of its type, and values."""
    tags = {256: (4, [WIDTH]), 257: (4, [HEIGHT]), 258: (3, bits), 259: (3, [8]), 262: (3, [photometric])}
    strip = zlib.compress(samples)
    tags |= {273: (4, [8]), 277: (3, [len(bits)]), 278: (4, [HEIGHT]), 279: (4, [len(strip)])} | (changes or {})
    if tags[259][1] == [1]:
        strip, tags[279] = samples, (4, [len(samples)])
    body, entries = bytearray(strip + b"\0" * (len(strip) % 2)), b""
    for tag, (kind, values) in sorted(tags.items()):
        flat = [part for value in values for part in (value if kind == 5 else [value])]
        data = struct.pack(order + {3: "H", 4: "I", 5: "I"}[kind] * len(flat), *flat)
        at = struct.pack(order + "I", 8 + len(body)) if len(data) > 4 else data.ljust(4, b"\0")
        body += data if len(data) > 4 else b""
        entries += struct.pack(order + "HHI", tag, kind, len(values)) + at
    head = {"<": b"II", ">": b"MM"}[order] + struct.pack(order + "HI", 42, 8 + len(body))
    return head + body + struct.pack(order + "H", len(tags)) + entries + bytes(4)


def ycbcr_blocks(image, across, down):
    """8-bit YCbCr as TIFF stores it: the Y of a block of pixels, then its Cb and Cr."""
    pixels, out = image.convert("YCbCr").load(), bytearray()
    for y in range(0, HEIGHT, down):
        for x in range(0, WIDTH, across):
            for j in range(y, y + down):
                out += bytes(pixels[min(i, WIDTH - 1), min(j, HEIGHT - 1)][0] for i in range(x, x + across))
            out += bytes(pixels[x, y][1:])
    return bytes(out)


def make_tiff_colors(rgb, gray):
    for across, down in ((1, 1), (2, 1), (2, 2), (4, 1)):
        samples = ycbcr_blocks(rgb, across, down)
        files[f"ycbcr-{across}{down}.tif"] = tiff(samples, 6, [8] * 3, {530: (3, [across, down])})
    samples = ycbcr_blocks(rgb, 2, 2)
    files["ycbcr-default.tif"] = tiff(samples, 6, [8] * 3)
    files["ycbcr-big-endian.tif"] = tiff(samples, 6, [8] * 3, {530: (3, [2, 2])}, order=">")
    files["ycbcr-turned.tif"] = tiff(samples, 6, [8] * 3, {274: (3, [6])})
    coefficients = [(2126, 10000), (7152, 10000), (722, 10000)]
    files["ycbcr-bt709.tif"] = tiff(samples, 6, [8] * 3, {529: (5, coefficients)})
    raw = {259: (3, [1]), 530: (3, [1, 1])}
    files["ycbcr-raw.tif"] = tiff(ycbcr_blocks(rgb, 1, 1), 6, [8] * 3, raw)
    for depth in (1, 2, 4, 8):
        rows = b"".join(packed(gray, depth))
        files[f"white-is-zero-{depth}-bit.tif"] = tiff(rows, 0, [depth])
        colors = [random.Random(depth).randrange(65536) for _ in range(3 << depth)]
        files[f"palette-{depth}-bit.tif"] = tiff(rows, 3, [depth], {320: (3, colors)})
    noise = random.Random(4).randbytes
    for extra in (0, 1, 2):
        files[f"rgb-extra-{extra}.tif"] = tiff(noise(WIDTH * HEIGHT * 4), 2, [8] * 4, {338: (3, [extra])})
    files["rgb-two-extras.tif"] = tiff(noise(WIDTH * HEIGHT * 5), 2, [8] * 5, {338: (3, [2, 0])})
    files["rgb-16-bit.tif"] = tiff(noise(WIDTH * HEIGHT * 6), 2, [16] * 3)
    files["rgb-16-bit-big-endian.tif"] = tiff(noise(WIDTH * HEIGHT * 6), 2, [16] * 3, order=">")
    files["cmyk-extra.tif"] = tiff(noise(WIDTH * HEIGHT * 5), 5, [8] * 5, {338: (3, [0])})


def make_gif_and_webp(rgb, rgba, gray, profile):
    palette = rgb.quantize(16)
    other = scene(3, 9).quantize(16)
    save("palette.gif", palette)
    save("gray.gif", gray)
    save("interlaced.gif", palette, interlace=1)
    save("transparent.gif", palette, transparency=5)
    save("animated.gif", palette, save_all=True, append_images=[other], duration=100)
    save("animated-transparent.gif", palette, save_all=True, append_images=[other], transparency=5, disposal=2)
    for name in ("palette", "transparent", "animated", "animated-transparent"):
        files[f"{name}-offset.gif"] = move_frame(files[f"{name}.gif"], 3, 2, WIDTH + 6, HEIGHT + 4)
    save("lossy.webp", rgb, quality=80)
    save("lossless.webp", rgb, lossless=True)
    save("alpha.webp", rgba, lossless=True, exact=True)
    save("profile.webp", rgb, lossless=True, icc_profile=profile)
    save("exif-6.webp", rgb, lossless=True, exif=exif(6))
    save("animated.webp", rgba, save_all=True, append_images=[scene(4, 9)], duration=100, lossless=True, exact=True)


def make_tiff_and_avif(rgb, rgba, gray, profile):
    for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        save(f"{compression}.tif", rgb, compression=compression)
    save("rgba.tif", rgba)
    save("gray.tif", gray)
    save("palette.tif", rgb.quantize(16))
    save("bilevel.tif", gray.convert("1"), compression="group4")
    save("cmyk.tif", Image.merge("CMYK", (*rgb.split(), gray)))
    save("gray-16-bit.tif", Image.frombytes("I;16", (WIDTH, HEIGHT), random.Random(2).randbytes(WIDTH * HEIGHT * 2)))
    save("profile.tif", rgb, icc_profile=profile)
    save("exif-7.tif", rgb, exif=exif(7))
    save("pages.tif", rgb, save_all=True, append_images=[scene(3, 9)])
    save("444.avif", rgb, quality=100, subsampling="4:4:4")
    save("alpha.avif", rgba, quality=100, subsampling="4:4:4")
    save("gray.avif", gray, quality=100, subsampling="4:0:0")
    save("animated.avif", rgb, save_all=True, append_images=[scene(3, 9)], quality=100, subsampling="4:4:4")


def expected(name, data):
    image = Image.open(io.BytesIO(data))
    # Pillow clips 16-bit gray to 255; the upper byte is what a viewer shows and what it does for 16-bit colour.
    if image.mode == "I;16":
        image = Image.frombytes("L", image.size, image.tobytes()[1::2])
    image = ImageOps.exif_transpose(image).convert("RGB")
    pixels = base64.b64encode(zlib.compress(image.tobytes(), 9)).decode()
    return {"file": name, "width": image.width, "height": image.height, "rgb": pixels}


def main():
    rgb, rgba, gray = scene(3), scene(4, 1), scene(1, 2)
    for x in range(5):
        rgba.putpixel((x, 0), (*rgba.getpixel((x, 0))[:3], 0))
    profile = swapped_profile()
    make_png(rgb, rgba, gray, profile)
    make_jpeg(rgb, gray, profile)
    make_jpeg_colors(rgb)
    make_gif_and_webp(rgb, rgba, gray, profile)
    make_tiff_colors(rgb, gray)
    make_tiff_and_avif(rgb, rgba, gray, profile)
    TARGET.mkdir(parents=True, exist_ok=True)
    for old in TARGET.iterdir():
        old.unlink()
    for name, data in files.items():
        (TARGET / name).write_bytes(data)
    entries = ",\n".join(json.dumps(expected(name, data)) for name, data in sorted(files.items()))
    (TARGET.parent / "decode.json").write_text(f"[\n{entries}\n]\n")
    print(f"{len(files)} pictures, {sum(map(len, files.values()))} bytes, in {TARGET}")


main()
