"""Images, sound, video, scans and maps whose libraries open files in C."""

from __future__ import annotations

from mlrepro_nb.capture.data.readers.calls import Call, opens, reads, writes

READERS: dict[str, tuple[Call, ...]] = {
    "cv2": (
        *(reads(name, "filename") for name in ("imread", "imreadmulti", "imcount")),
        reads("imreadanimation", "filename"),
        *(writes(name, "filename") for name in ("imwrite", "imwritemulti", "imwriteanimation")),
        reads("VideoCapture", "filename"),
        writes("VideoWriter", "filename"),
    ),
    "soundfile": (opens("SoundFile.__init__", "file"),),
    "torchaudio": (reads("load", "uri"), reads("info", "uri"), writes("save", "uri")),
    "torchvision.io.image": (
        reads("read_file", "path"), reads("read_image", "path"), reads("decode_image", "input"),
        writes("write_file", "filename"), writes("write_png", "filename", 1),
        writes("write_jpeg", "filename", 1),
    ),
    "torchcodec.decoders": (
        reads("VideoDecoder.__init__", "source"), reads("AudioDecoder.__init__", "source"),
    ),
    "decord": (reads("VideoReader.__init__", "uri"), reads("AudioReader.__init__", "uri")),
    "av": (opens("open", "file"),),
    "pyvips": (reads("Image.new_from_file", "vips_filename"),),
    "SimpleITK.extra": (reads("ReadImage", "fileName"), writes("WriteImage", "fileName", 1)),
    "rasterio": (opens("open", "fp"),),
}  # fmt: skip
