"""Pictures that are no equirectangular panoramas, made of some by FFmpeg's v360, which shares no code with ours."""

import io
from fractions import Fraction

import av
import cv2
import numpy as np
from PIL import Image


def projected(erp, output, size=None, source="e"):
    """Return an ERP (H, W, 3) uint8 in another projection, as `ffmpeg -vf v360=e:OUTPUT` makes it (size: width, height)."""
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(erp), format="rgb24")
    frame.pts, frame.time_base = 0, Fraction(1)
    width, height = size or (frame.width, frame.height)
    graph = av.filter.Graph()
    first = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1))
    first.link_to(made := graph.add("v360", f"{source}:{output}:w={width}:h={height}:interp=cubic"))
    made.link_to(last := graph.add("buffersink"))
    graph.configure()
    first.push(frame)
    return last.pull().to_ndarray(format="rgb24")


def two_lenses(erp):
    """The picture of a camera with two lenses of 190 degrees, black around them."""
    return round_ones(projected(erp, "dfisheye:h_fov=190:v_fov=190"))


def one_lens(erp):
    """The picture of a lens of 180 degrees in the middle of a black picture of aspect 2:1."""
    side = len(erp) // 2
    return np.pad(round_ones(projected(erp, "fisheye:h_fov=180:v_fov=180", (2 * side, 2 * side))), ((0, 0), (side, side), (0, 0)))


def round_ones(picture):
    """Black outside circles that are as high as the picture."""
    height, width = picture.shape[:2]
    y, x = np.mgrid[:height, :width] + 0.5
    picture[np.hypot(x % height - height / 2, y - height / 2) > height / 2] = 0
    return picture


def photograph(erp, yaw):
    """An ordinary photograph of aspect 2:1 taken in a panorama."""
    return projected(erp, f"flat:h_fov=90:v_fov=53:yaw={yaw}:pitch=-8", (1024, 512))


def page(ink, width=1024):
    """A page of text (H, 2H, 3) uint8: dark on light, or the reverse."""
    picture = np.full((width // 2, width, 3), 255 - ink, np.uint8)
    for row in range(40, width // 2 - 20, 28):
        cv2.putText(picture, "the quick brown fox jumps over the dog", (60, row), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (ink,) * 3, 1)
    return picture


def gpano(pixels, kind="JPEG", elements=False, **values):
    """A file with GPano metadata, as attributes or as elements."""
    if elements:
        inner, outer = "".join(f"<GPano:{key}>{value}</GPano:{key}>" for key, value in values.items()), ""
    else:
        inner, outer = "", " ".join(f'GPano:{key}="{value}"' for key, value in values.items())
    xmp = (f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
           f'<rdf:Description xmlns:GPano="http://ns.google.com/photos/1.0/panorama/" {outer}>{inner}</rdf:Description>'
           f'</rdf:RDF></x:xmpmeta>')
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, xmp=xmp.encode(), quality=95)
    return file.getvalue()


def crop(left, top, width, height, full=(512, 256)):
    """What GPano tells of a part of a panorama."""
    return {"CroppedAreaLeftPixels": left, "CroppedAreaTopPixels": top, "CroppedAreaImageWidthPixels": width,
            "CroppedAreaImageHeightPixels": height, "FullPanoWidthPixels": full[0], "FullPanoHeightPixels": full[1]}
