"""The table of readers and writers: what a cell does, and the file that the record must name.

It follows the 48 rows of the field notes, and goes on where they stop. A row's
file lies in a folder of its own; ``NATIVE`` rows reach the system below Python,
so that only the cross-check of folders sees them, and a gap must say so.
"""

# ruff: noqa: E501, ERA001
from __future__ import annotations

MAKE = """
import json, pickle, sqlite3, os
import duckdb, h5py, joblib, numpy as np, pandas as pd, polars as pl, pyarrow as pa
import pyarrow.csv, pyarrow.dataset, pyarrow.feather as feather, pyarrow.orc, pyarrow.parquet as pq
from PIL import Image
frame = pd.DataFrame({"a": [1, 2], "b": [3.0, 4.0]})
frame.to_csv("t.csv", index=False); frame.to_parquet("t.parquet"); frame.to_json("t.json")
frame.to_pickle("t.pkl"); frame.to_csv("t.csv.gz", index=False)
frame.to_json("t.ndjson", orient="records", lines=True)
np.save("t.npy", np.arange(3)); np.savez("t.npz", a=np.arange(3)); np.savetxt("t.txt", np.eye(2))
np.arange(6, dtype="float32").tofile("t.bin")
pickle.dump({"a": 1}, open("p.pkl", "wb")); joblib.dump([1], "t.joblib"); joblib.dump(np.ones(9), "m.joblib")
table = pa.table({"a": [1, 2]})
feather.write_feather(table, "t.feather"); pyarrow.orc.write_table(table, "t.orc")
pl.DataFrame({"a": [1]}).write_avro("t.avro")
with h5py.File("t.h5", "w") as f: f["a"] = [1, 2]
for name in ("t.db", "u.db"):
    db = sqlite3.connect(name); db.execute("create table t (a)"); db.commit(); db.close()
duckdb.connect("t.duckdb").execute("create table t as select 1 a").close()
Image.new("RGB", (2, 2)).save("t.png")
os.makedirs("set"); pq.write_table(table, "set/1.parquet")
"""

MAKE_FRAMEWORKS = """
import lightgbm, numpy as np, torch, xgboost
from safetensors.numpy import save_file
X, y = np.random.rand(40, 3), np.arange(40) % 2
np.savetxt("t.svm.csv", np.column_stack([y, X]), delimiter=",")
open("t.svm", "w").write("".join(f"{int(b)} 0:{a[0]} 1:{a[1]}\\n" for a, b in zip(X, y)))
booster = lightgbm.train({"verbose": -1}, lightgbm.Dataset(X, y), 1); booster.save_model("t.lgb")
xgboost.train({}, xgboost.DMatrix(X, y), 1).save_model("t.xgb.json")
torch.save({"a": torch.ones(2)}, "t.pt"); torch.ones(6).numpy().tofile("t.f32")
torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), "t.jit")
save_file({"a": np.ones(2, dtype="float32")}, "t.safetensors")
"""

MAKE_SCIENCE = """
import cv2, imageio, netCDF4, numpy as np, soundfile, tables, xarray, zarr, datasets
soundfile.write("t.wav", np.zeros(8), 8000); cv2.imwrite("t.jpg", np.zeros((4, 4, 3), dtype="uint8"))
imageio.imwrite("t.gif", np.zeros((4, 4), dtype="uint8"))
xarray.Dataset({"a": ("x", [1, 2])}).to_netcdf("t.nc", engine="netcdf4")
with tables.open_file("t.tables.h5", "w") as f: f.create_array("/", "a", [1, 2])
zarr.save_array("t.zarr", np.arange(3))
datasets.Dataset.from_dict({"a": [1, 2]}).save_to_disk("saved")
open("d.csv", "w").write("a\\n1\\n")
"""

# name: (cell, file)
READS = {
    "open": ("open('t.txt').read()", "t.txt"),
    "io.FileIO": ("import io; io.FileIO('t.txt').read()", "t.txt"),
    "os.open": ("import os; os.close(os.open('t.txt', os.O_RDONLY))", "t.txt"),
    "pathlib": ("from pathlib import Path; Path('t.txt').read_bytes()", "t.txt"),
    "mmap": ("import mmap; f = open('t.txt', 'rb'); mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)[:1]; f.close()", "t.txt"),
    "glob": ("import glob\nfor p in glob.glob('t.tx?'): open(p).read()", "t.txt"),
    "absolute": ("import os; open(os.path.abspath('t.txt')).read()", "t.txt"),
    "pandas csv": ("import pandas; pandas.read_csv('t.csv')", "t.csv"),
    "pandas csv python": ("import pandas; pandas.read_csv('t.csv', engine='python')", "t.csv"),
    "pandas csv pyarrow": ("import pandas; pandas.read_csv('t.csv', engine='pyarrow')", "t.csv"),
    "pandas csv mmap": ("import pandas; pandas.read_csv('t.csv', memory_map=True)", "t.csv"),
    "pandas csv gz": ("import pandas; pandas.read_csv('t.csv.gz')", "t.csv.gz"),
    "pandas json": ("import pandas; pandas.read_json('t.json')", "t.json"),
    "pandas pickle": ("import pandas; pandas.read_pickle('t.pkl')", "t.pkl"),
    "pandas feather": ("import pandas; pandas.read_feather('t.feather')", "t.feather"),
    "pandas parquet": ("import pandas; pandas.read_parquet('t.parquet')", "t.parquet"),
    "pandas orc": ("import pandas; pandas.read_orc('t.orc')", "t.orc"),
    "pandas parquet folder": ("import pandas; pandas.read_parquet('set')", "set/1.parquet"),
    "pandas file url": ("import os, pandas; pandas.read_csv('file://' + os.path.abspath('t.csv'))", "t.csv"),
    "pandas sql": ("import pandas, sqlite3; pandas.read_sql('select * from t', sqlite3.connect('t.db'))", "t.db"),
    "pandas sqlalchemy": ("import pandas; pandas.read_sql('select * from t', 'sqlite:///t.db')", "t.db"),
    "numpy load": ("import numpy; numpy.load('t.npy')", "t.npy"),
    "numpy load mmap": ("import numpy; numpy.load('t.npy', mmap_mode='r')", "t.npy"),
    "numpy npz": ("import numpy; numpy.load('t.npz')['a']", "t.npz"),
    "numpy memmap": ("import numpy; numpy.memmap('t.bin', mode='r')", "t.bin"),
    "numpy fromfile": ("import numpy; numpy.fromfile('t.bin')", "t.bin"),
    "numpy loadtxt": ("import numpy; numpy.loadtxt('t.txt')", "t.txt"),
    "pillow": ("from PIL import Image; Image.open('t.png').load()", "t.png"),
    "joblib": ("import joblib; joblib.load('t.joblib')", "t.joblib"),
    "joblib mmap": ("import joblib; joblib.load('m.joblib', mmap_mode='r')", "m.joblib"),
    "pickle": ("import pickle; pickle.load(open('p.pkl', 'rb'))", "p.pkl"),
    "sqlite": ("import sqlite3; sqlite3.connect('t.db').execute('select * from t').fetchall()", "t.db"),
    "sqlite read only": ("import sqlite3; sqlite3.connect('file:t.db?mode=ro', uri=True)", "t.db"),
    "sqlite attach": ("import sqlite3; c = sqlite3.connect(':memory:'); c.execute(\"attach 'u.db' as u\"); c.execute('select * from u.t').fetchall()", "u.db"),
    "h5py": ("import h5py; h5py.File('t.h5')['a'][:]", "t.h5"),
    "pyarrow read_table": ("import pyarrow.parquet as pq; pq.read_table('t.parquet')", "t.parquet"),
    "pyarrow ParquetFile": ("from pyarrow.parquet import ParquetFile; ParquetFile('t.parquet').read()", "t.parquet"),
    "pyarrow metadata": ("import pyarrow.parquet as pq; pq.read_metadata('t.parquet')", "t.parquet"),
    "pyarrow dataset": ("import pyarrow.dataset as ds; ds.dataset('t.parquet').to_table()", "t.parquet"),
    "pyarrow dataset folder": ("import pyarrow.dataset as ds; ds.dataset('set').to_table()", "set/1.parquet"),
    "pyarrow memory_map": ("import pyarrow; pyarrow.memory_map('t.parquet').read()", "t.parquet"),
    "pyarrow OSFile": ("import pyarrow; pyarrow.OSFile('t.parquet').read()", "t.parquet"),
    "pyarrow input_stream": ("import pyarrow; pyarrow.input_stream('t.csv').read()", "t.csv"),
    "pyarrow csv": ("from pyarrow import csv; csv.read_csv('t.csv')", "t.csv"),
    "pyarrow json": ("from pyarrow import json; json.read_json('t.ndjson')", "t.ndjson"),
    "pyarrow feather": ("import pyarrow.feather as f; f.read_table('t.feather')", "t.feather"),
    "pyarrow orc": ("from pyarrow import orc; orc.read_table('t.orc')", "t.orc"),
    "pyarrow fs": ("from pyarrow import fs; fs.LocalFileSystem().open_input_file('t.bin').read()", "t.bin"),
    "pyarrow subtree": ("import os; from pyarrow import fs; fs.SubTreeFileSystem(os.getcwd(), fs.LocalFileSystem()).open_input_stream('t.bin').read()", "t.bin"),
    "polars read_csv": ("import polars as pl; pl.read_csv('t.csv')", "t.csv"),
    "polars scan_csv": ("import polars as pl; pl.scan_csv('t.csv').collect()", "t.csv"),
    "polars read_parquet": ("import polars as pl; pl.read_parquet('t.parquet')", "t.parquet"),
    "polars scan_parquet": ("import polars as pl; pl.scan_parquet('t.parquet').collect()", "t.parquet"),
    "polars by name": ("from polars import read_parquet; read_parquet('t.parquet')", "t.parquet"),
    "polars glob": ("import polars as pl; pl.read_parquet('set/*.parquet')", "set/1.parquet"),
    "polars ipc": ("import polars as pl; pl.read_ipc('t.feather')", "t.feather"),
    "polars ndjson": ("import polars as pl; pl.scan_ndjson('t.ndjson').collect()", "t.ndjson"),
    "polars avro": ("import polars as pl; pl.read_avro('t.avro')", "t.avro"),
    "duckdb parquet": ("import duckdb; duckdb.sql(\"select * from 't.parquet'\").fetchall()", "t.parquet"),
    "duckdb csv": ("import duckdb; duckdb.connect().execute(\"select * from read_csv('t.csv')\").fetchall()", "t.csv"),
    "duckdb parameter": ("import duckdb; duckdb.connect().execute('select * from read_csv(?)', ['t.csv']).fetchall()", "t.csv"),
    "duckdb read_parquet": ("import duckdb; duckdb.read_parquet('t.parquet').fetchall()", "t.parquet"),
    "duckdb con.read_csv": ("import duckdb; duckdb.connect().read_csv('t.csv').fetchall()", "t.csv"),
    "duckdb glob": ("import duckdb; duckdb.sql(\"from 'set/*.parquet'\").fetchall()", "set/1.parquet"),
    "duckdb quoted name": ("import duckdb; duckdb.sql('from \"t.csv\"').fetchall()", "t.csv"),
    "duckdb database": ("import duckdb; duckdb.connect('t.duckdb', read_only=True).sql('from t').fetchall()", "t.duckdb"),
    "duckdb attach": ("import duckdb; duckdb.connect().execute(\"attach 't.duckdb' as x (read_only); from x.t\").fetchall()", "t.duckdb"),
    "fsspec open": ("import fsspec\nwith fsspec.open('t.csv') as f: f.read()", "t.csv"),
    "fsspec filesystem": ("import fsspec; fsspec.filesystem('file').cat('t.csv')", "t.csv"),
    "fsspec get": ("import fsspec, tempfile; fsspec.filesystem('file').cat_file('t.csv')", "t.csv"),
    "sklearn svmlight": ("import sklearn.datasets as d\ntry: d.load_svmlight_file('t.txt')\nexcept ValueError: pass", "t.txt"),
    "zip": ("import zipfile; zipfile.ZipFile('t.npz').read('a.npy')", "t.npz"),
    "fork": ("import os\nif (p := os.fork()) == 0:\n    open('t.csv').read(); os._exit(0)\nos.waitpid(p, 0)", "t.csv"),
    "fork arrow": ("import os, pyarrow.parquet as pq\nif (p := os.fork()) == 0:\n    pq.read_metadata('t.parquet'); os._exit(0)\nos.waitpid(p, 0)", "t.parquet"),
    "multiprocessing fork": ("import multiprocessing as m\nwith m.get_context('fork').Pool(1) as p: p.map(len, [()]); p.apply(open, ('t.csv',)) if 0 else p.apply(__import__('os').open, ('t.csv', 0))", "t.csv"),
    "multiprocessing spawn": ("import multiprocessing as m, os\nwith m.get_context('spawn').Pool(1) as p: p.apply(os.open, ('t.csv', 0))", "t.csv"),
    "multiprocessing forkserver": ("import multiprocessing as m, os\nwith m.get_context('forkserver').Pool(1) as p: p.apply(os.open, ('t.csv', 0))", "t.csv"),
    "loky": ("import joblib, os, pandas; joblib.Parallel(2)(joblib.delayed(pandas.read_csv)(f) for f in [os.path.abspath('t.csv')])", "t.csv"),
    "thread": ("import threading; t = threading.Thread(target=lambda: open('t.csv').read()); t.start(); t.join()", "t.csv"),
}  # fmt: skip

READS_FRAMEWORKS = {
    "torch.load": ("import torch; torch.load('t.pt')", "t.pt"),
    "torch.load mmap": ("import torch; torch.load('t.pt', mmap=True)", "t.pt"),
    "torch.from_file": ("import torch; torch.from_file('t.f32', size=6)", "t.f32"),
    "torch storage": ("import torch; torch.UntypedStorage.from_file('t.f32', False, 24)", "t.f32"),
    "torch.jit": ("import torch; torch.jit.load('t.jit')", "t.jit"),
    "safetensors torch": ("from safetensors.torch import load_file; load_file('t.safetensors')", "t.safetensors"),
    "safetensors numpy": ("from safetensors.numpy import load_file; load_file('t.safetensors')", "t.safetensors"),
    "safe_open": ("from safetensors import safe_open\nwith safe_open('t.safetensors', framework='np') as f: f.get_tensor('a')", "t.safetensors"),
    "lightgbm Dataset": ("import lightgbm; lightgbm.Dataset('t.svm.csv', params={'verbose': -1}).construct()", "t.svm.csv"),
    "lightgbm Booster": ("import lightgbm; lightgbm.Booster(model_file='t.lgb')", "t.lgb"),
    "xgboost DMatrix": ("import xgboost; xgboost.DMatrix('t.svm?format=libsvm')", "t.svm"),
    "xgboost load_model": ("import xgboost; b = xgboost.Booster(); b.load_model('t.xgb.json')", "t.xgb.json"),
    "xgboost model_file": ("import xgboost; xgboost.Booster(model_file='t.xgb.json')", "t.xgb.json"),
    "xgboost sklearn": ("import xgboost; xgboost.XGBRegressor().load_model('t.xgb.json')", "t.xgb.json"),
    "DataLoader workers": ("import torch\nclass D(torch.utils.data.Dataset):\n    def __len__(self): return 1\n    def __getitem__(self, i): return len(open('t.svm').read())\nlist(torch.utils.data.DataLoader(D(), num_workers=1))", "t.svm"),
}  # fmt: skip

READS_SCIENCE = {
    "cv2": ("import cv2; cv2.imread('t.jpg')", "t.jpg"),
    "imageio": ("import imageio.v3 as i; i.imread('t.gif')", "t.gif"),
    "soundfile": ("import soundfile; soundfile.read('t.wav')", "t.wav"),
    "netCDF4": ("import netCDF4; netCDF4.Dataset('t.nc')['a'][:]", "t.nc"),
    "xarray netcdf": ("import xarray; xarray.open_dataset('t.nc', engine='netcdf4').load()", "t.nc"),
    "tables": ("import tables; tables.open_file('t.tables.h5').close()", "t.tables.h5"),
    "datasets csv": ("import datasets; datasets.load_dataset('csv', data_files='d.csv', cache_dir='/tmp/mlrepro-test-hf')", "d.csv"),
}  # fmt: skip

# Below Python, and not among the libraries that are wrapped: the cell, the file, what a gap names.
NATIVE = {
    "libc open": ("import ctypes; l = ctypes.CDLL(None); l.close(l.open(b't.csv', 0))", "t.csv", "t.csv"),
    "h5py low level": ("import h5py; h5py.h5f.open(b't.h5', h5py.h5f.ACC_RDONLY).close()", "t.h5", "t.h5"),
    "subprocess cat": ("import subprocess; subprocess.run(['cat', 't.csv'], capture_output=True)", "t.csv", "`cat`"),
    "shell": ("!cat t.csv > /dev/null", "t.csv", "`cat`"),
    "os.system": ("import os; os.system('cat t.csv > /dev/null')", "t.csv", "`cat`"),
}  # fmt: skip

WRITES = {
    "open": ("open('o', 'w').write('x')", "o"),
    "append": ("open('o', 'a').write('x')", "o"),
    "r+": ("open('t.txt', 'r+').write('x')", "t.txt"),
    "pathlib": ("from pathlib import Path; Path('o').write_bytes(b'x')", "o"),
    "atomic": ("import os; open('tmp1', 'w').write('x'); os.replace('tmp1', 'o')", "o"),
    "shutil.copy": ("import io, shutil; shutil.copyfileobj(io.BytesIO(b'x'), open('o', 'wb'))", "o"),
    "pandas csv": ("import pandas; pandas.DataFrame({'a': [1]}).to_csv('o')", "o"),
    "pandas parquet": ("import pandas; pandas.DataFrame({'a': [1]}).to_parquet('o')", "o"),
    "pandas feather": ("import pandas; pandas.DataFrame({'a': [1]}).to_feather('o')", "o"),
    "numpy": ("import numpy; numpy.save('o.npy', [1])", "o.npy"),
    "numpy tofile": ("import numpy; numpy.arange(3).tofile('o')", "o"),
    "numpy memmap": ("import numpy; m = numpy.memmap('o', 'int8', 'w+', shape=3); m[:] = 1; m.flush()", "o"),
    "pickle": ("import pickle\nwith open('o', 'wb') as f: pickle.dump(1, f)", "o"),
    "joblib": ("import joblib; joblib.dump(1, 'o')", "o"),
    "pillow": ("from PIL import Image; Image.new('L', (1, 1)).save('o.png')", "o.png"),
    "pyarrow": ("import pyarrow as pa, pyarrow.parquet as pq; pq.write_table(pa.table({'a': [1]}), 'o')", "o"),
    "pyarrow ParquetWriter": ("import pyarrow as pa, pyarrow.parquet as pq; t = pa.table({'a': [1]})\nwith pq.ParquetWriter('o', t.schema) as w: w.write(t)", "o"),
    "pyarrow write_dataset": ("import pyarrow as pa, pyarrow.dataset as ds; ds.write_dataset(pa.table({'a': [1]}), 'od', format='parquet')", "od/part-0.parquet"),
    "pyarrow csv": ("import pyarrow as pa; from pyarrow import csv; csv.write_csv(pa.table({'a': [1]}), 'o')", "o"),
    "pyarrow CSVWriter": ("import pyarrow as pa; from pyarrow import csv; t = pa.table({'a': [1]})\nwith csv.CSVWriter('o', t.schema) as w: w.write(t)", "o"),
    "pyarrow OSFile": ("import pyarrow\nwith pyarrow.OSFile('o', 'wb') as f: f.write(b'x')", "o"),
    "pyarrow fs": ("from pyarrow import fs\nwith fs.LocalFileSystem().open_output_stream('o') as f: f.write(b'x')", "o"),
    "pyarrow ipc": ("import pyarrow as pa; t = pa.table({'a': [1]})\nwith pa.ipc.new_file('o', t.schema) as w: w.write(t)", "o"),
    "polars csv": ("import polars as pl; pl.DataFrame({'a': [1]}).write_csv('o')", "o"),
    "polars parquet": ("import polars as pl; pl.DataFrame({'a': [1]}).write_parquet('o')", "o"),
    "polars ipc": ("import polars as pl; pl.DataFrame({'a': [1]}).write_ipc('o')", "o"),
    "polars sink": ("import polars as pl; pl.LazyFrame({'a': [1]}).sink_parquet('o')", "o"),
    "polars sink ndjson": ("import polars as pl; pl.LazyFrame({'a': [1]}).sink_ndjson('o')", "o"),
    "duckdb copy": ("import duckdb; duckdb.sql(\"copy (select 1) to 'o' (format parquet)\")", "o"),
    "duckdb relation": ("import duckdb; duckdb.sql('select 1 a').write_parquet('o')", "o"),
    "duckdb database": ("import duckdb; duckdb.connect('o').execute('create table t (a int)').close()", "o"),
    "duckdb partitions": ("import duckdb; duckdb.sql(\"copy (select 1 a, 2 b) to 'od' (format csv, partition_by (a))\")", "od/a=1/data_0.csv"),
    "h5py": ("import h5py\nwith h5py.File('o', 'w') as f: f['a'] = 1", "o"),
    "sqlite": ("import sqlite3; d = sqlite3.connect('o'); d.execute('create table t (a)'); d.commit(); d.close()", "o"),
    "sqlite attach": ("import sqlite3; d = sqlite3.connect(':memory:'); d.execute(\"attach 'o' as u\"); d.execute('create table u.t (a)'); d.commit(); d.close()", "o"),
    "matplotlib": ("import matplotlib.pyplot as p; p.plot([1]); p.savefig('o.png'); p.close()", "o.png"),
    "fsspec": ("import fsspec\nwith fsspec.open('o', 'w') as f: f.write('x')", "o"),
    "magic": ("%%writefile o\nhello", "o"),
    "fork": ("import os\nif (p := os.fork()) == 0:\n    open('o', 'w').write('x'); os._exit(0)\nos.waitpid(p, 0)", "o"),
}  # fmt: skip

WRITES_FRAMEWORKS = {
    "torch.save": ("import torch; torch.save(torch.ones(1), 'o')", "o"),
    "torch.jit": ("import torch; torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), 'o')", "o"),
    "safetensors torch": ("import torch; from safetensors.torch import save_file; save_file({'a': torch.ones(1)}, 'o')", "o"),
    "safetensors numpy": ("import numpy; from safetensors.numpy import save_file; save_file({'a': numpy.ones(1)}, 'o')", "o"),
    "lightgbm": ("import lightgbm, numpy; lightgbm.train({'verbose': -1}, lightgbm.Dataset(numpy.random.rand(40, 2), numpy.arange(40) % 2), 1).save_model('o')", "o"),
    "xgboost": ("import xgboost, numpy; xgboost.train({}, xgboost.DMatrix(numpy.ones((4, 2)), numpy.ones(4)), 1).save_model('o.json')", "o.json"),
}  # fmt: skip

WRITES_SCIENCE = {
    "cv2": ("import cv2, numpy; cv2.imwrite('o.png', numpy.zeros((2, 2, 3), dtype='uint8'))", "o.png"),
    "soundfile": ("import soundfile, numpy; soundfile.write('o.wav', numpy.zeros(4), 8000)", "o.wav"),
    "netCDF4": ("import netCDF4; netCDF4.Dataset('o.nc', 'w').close()", "o.nc"),
    "tables": ("import tables; tables.open_file('o.h5', 'w').close()", "o.h5"),
    "imageio": ("import imageio.v3 as i, numpy; i.imwrite('o.png', numpy.zeros((2, 2), dtype='uint8'))", "o.png"),
}  # fmt: skip
