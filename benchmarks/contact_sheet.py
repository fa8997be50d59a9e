"""Tile every frame of an overlay.mp4 into one picture, to be looked at frame by frame.

python benchmarks/contact_sheet.py OVERLAY.mp4 OUT.png --columns 6 --width 320
"""

import argparse
from pathlib import Path

import av
from PIL import Image


def main() -> None:
    """Parse, decode, tile, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("overlay", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--columns", type=int, default=6)
    parser.add_argument("--width", type=int, default=320)
    parser.add_argument("--every", type=int, default=1)
    args = parser.parse_args()
    with av.open(str(args.overlay)) as container:
        frames = [frame.to_image() for frame in container.decode(video=0)][:: args.every]
    height = round(frames[0].height * args.width / frames[0].width)
    rows = -(-len(frames) // args.columns)
    sheet = Image.new("RGB", (args.columns * args.width, rows * height))
    for index, frame in enumerate(frames):
        place = index % args.columns * args.width, index // args.columns * height
        sheet.paste(frame.resize((args.width, height), Image.Resampling.LANCZOS), place)
    colours = 255 if args.out.suffix == ".png" else None
    (sheet.quantize(colours) if colours else sheet).save(args.out, optimize=True)


if __name__ == "__main__":
    main()
