"""Arrays, models and training data: HDF5, torch, boosting, safetensors and their like."""

from __future__ import annotations

from mlrepro_nb.capture.data.readers.calls import Call, opens, reads, writes

READERS: dict[str, tuple[Call, ...]] = {
    "h5py._hl.files": (opens("File.__init__", "name"),),
    "netCDF4": (opens("Dataset.__init__", "filename"),),
    "tables.file": (opens("File.__init__", "filename"),),
    "torch": (
        reads("from_file", "filename"),
        reads("UntypedStorage.from_file", "filename"),
        # Zip files of torch.load, torch.save, torch.package and torch.export
        reads("_C.PyTorchFileReader.__init__", "name"),
        writes("_C.PyTorchFileWriter.__init__", "name"),
    ),
    "torch.serialization": (writes("save", "f", 1),),
    "torch.jit._serialization": (reads("load", "f"), writes("save", "f", 1)),
    "safetensors": (
        reads("safe_open", "filename"), writes("serialize_file", "filename", 1),
    ),
    **{
        f"safetensors.{form}": (reads("load_file", "filename"), writes("save_file", "filename", 1))
        for form in ("torch", "numpy", "flax", "tensorflow", "mlx", "paddle")
    },
    "lightgbm.basic": (
        reads("Dataset.__init__", "data"),
        writes("Dataset.save_binary", "filename"),
        reads("Booster.__init__", "model_file", 2),
        reads("Booster.predict", "data"),
        reads("Booster.refit", "data"),
        writes("Booster.save_model", "filename"),
    ),
    "xgboost.core": (
        reads("DMatrix.__init__", "data", kind="uri"),
        writes("DMatrix.save_binary", "fname"),
        reads("Booster.load_model", "fname"),
        writes("Booster.save_model", "fname"),
    ),
    "catboost.core": (
        reads("Pool.__init__", "data"),
        writes("Pool.save", "fname"),
        reads("CatBoost.load_model", "fname"),
        writes("CatBoost.save_model", "fname"),
    ),
    "onnxruntime.capi.onnxruntime_inference_collection": (
        reads("InferenceSession.__init__", "path_or_bytes"),
    ),
    "tokenizers": (reads("Tokenizer.from_file", "path"),),
    "sentencepiece": (
        reads("SentencePieceProcessor.LoadFromFile", "arg"),
        reads("SentencePieceProcessor.Init", "model_file"),
    ),
    "faiss": (reads("read_index", "fname"), writes("write_index", "fname", 1)),
    "tensorflow.python.lib.io.file_io": (opens("FileIO.__init__", "name"),),
    "tensorflow.python.data.ops.readers": (
        reads("TFRecordDatasetV2.__init__", "filenames"),
        reads("TextLineDatasetV2.__init__", "filenames"),
        reads("FixedLengthRecordDatasetV2.__init__", "filenames"),
    ),
    "tensorflow.python.lib.io.tf_record": (writes("TFRecordWriter.__init__", "path"),),
}  # fmt: skip
"""`torch.jit` and `safetensors` read below Python even where they look like Python."""
