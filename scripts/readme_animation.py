"""Make the moving picture of the README: the overlay of the demo clip as an animated WebP.

echoseg demo -o echoseg-demo --force
python scripts/readme_animation.py echoseg-demo/ybr_color/overlay.mp4 docs/images/demo.webp
"""

import sys

import av
from PIL import Image

_WIDTH = 520
_MAX_BYTES = 1_500_000


def main(video: str, picture: str) -> None:
    """Write every frame of `video` to the endless animation `picture`, at the same speed."""
    with av.open(video) as container:
        rate = container.streams.video[0].average_rate or 25
        frames = [frame.to_image() for frame in container.decode(video=0)]
    size = (_WIDTH, round(frames[0].height * _WIDTH / frames[0].width))
    first, *rest = (frame.resize(size, Image.Resampling.LANCZOS) for frame in frames)
    duration_ms = round(1000 / float(rate))
    first.save(
        picture,
        save_all=True,
        append_images=rest,
        duration=duration_ms,
        loop=0,
        quality=70,
        method=6,
    )
    with open(picture, "rb") as file:
        size_bytes = len(file.read())
    if size_bytes > _MAX_BYTES:
        sys.exit(f"{picture} has {size_bytes} bytes, more than {_MAX_BYTES}")


if __name__ == "__main__":
    main(*sys.argv[1:])
