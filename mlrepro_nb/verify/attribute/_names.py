"""Names of libraries' functions that static evidence knows."""

from __future__ import annotations

SEEDERS: dict[str, tuple[str, ...]] = {
    "random.seed": ("random",),
    "numpy.random.seed": ("numpy",),
    "torch.manual_seed": ("torch",),
    "torch.cuda.manual_seed_all": (),
    "tensorflow.random.set_seed": ("tensorflow",),
    "tensorflow.keras.utils.set_random_seed": ("random", "numpy", "tensorflow"),
    "keras.utils.set_random_seed": ("random", "numpy", "tensorflow"),
    "transformers.set_seed": ("random", "numpy", "torch", "tensorflow"),
    "pytorch_lightning.seed_everything": ("random", "numpy", "torch"),
    "lightning.seed_everything": ("random", "numpy", "torch"),
}
"""What seeds which generators."""

UNSEEDED_GENERATORS = frozenset(
    {"numpy.random.default_rng", "numpy.random.RandomState", "random.Random",
     "numpy.random.SeedSequence", "numpy.random.PCG64", "numpy.random.MT19937"}
)  # fmt: skip
"""Generators that take operating-system entropy when they are given no seed."""

NUMPY_NOT_DRAWN = frozenset(
    {"seed", "default_rng", "RandomState", "Generator", "SeedSequence", "PCG64", "MT19937",
     "Philox", "get_state", "set_state", "BitGenerator"}
)  # fmt: skip
RANDOM_NOT_DRAWN = frozenset({"seed", "Random", "SystemRandom", "getstate", "setstate"})
TORCH_DRAWN = frozenset(
    f"torch.{name}"
    for name in ("rand", "randn", "randint", "randperm", "bernoulli", "multinomial", "normal",
                 "rand_like", "randn_like", "utils.data.random_split")
)  # fmt: skip

SEEDED_BY_NUMPY = frozenset(
    {
        "train_test_split", "KFold", "StratifiedKFold", "ShuffleSplit", "StratifiedShuffleSplit",
        "RepeatedKFold", "RepeatedStratifiedKFold", "RandomizedSearchCV", "shuffle", "resample",
        "RandomForestClassifier", "RandomForestRegressor", "ExtraTreesClassifier",
        "ExtraTreesRegressor", "DecisionTreeClassifier", "DecisionTreeRegressor",
        "ExtraTreeClassifier", "GradientBoostingClassifier", "GradientBoostingRegressor",
        "BaggingClassifier", "BaggingRegressor", "AdaBoostClassifier", "AdaBoostRegressor",
        "IsolationForest", "KMeans", "MiniBatchKMeans", "BisectingKMeans", "SpectralClustering",
        "MLPClassifier", "MLPRegressor", "SGDClassifier", "SGDRegressor", "Perceptron",
        "PassiveAggressiveClassifier", "TSNE", "UMAP", "TruncatedSVD", "FastICA",
        "LatentDirichletAllocation", "DictionaryLearning", "GaussianMixture",
        "BayesianGaussianMixture", "permutation_importance", "make_classification", "make_blobs",
        "make_regression", "make_moons", "make_circles", "make_friedman1", "make_swiss_roll",
        "make_multilabel_classification", "make_gaussian_quantiles", "learning_curve",
        "GaussianRandomProjection", "SparseRandomProjection", "RBFSampler", "Nystroem", "SMOTE",
        "RandomOverSampler", "RandomUnderSampler", "ADASYN", "QuantileTransformer",
        "HistGradientBoostingClassifier", "HistGradientBoostingRegressor", "LinearSVC",
    }
)  # fmt: skip
"""scikit-learn's and its kin's functions that draw unless told otherwise; without
``random_state`` they take NumPy's global generator."""

CLOCKS = frozenset(
    {
        "datetime.datetime.now", "datetime.datetime.utcnow", "datetime.datetime.today",
        "datetime.date.today", "datetime.now", "time.time", "time.time_ns", "time.ctime",
        "time.strftime", "time.localtime", "time.gmtime", "time.asctime", "pandas.Timestamp.now",
        "pandas.Timestamp.today", "pandas.Timestamp.utcnow", "pandas.datetime.now", "arrow.now",
        "arrow.utcnow", "pendulum.now", "pendulum.today", "django.utils.timezone.now",
    }
)  # fmt: skip
TIMERS = frozenset(
    {"time.perf_counter", "time.perf_counter_ns", "time.monotonic", "time.monotonic_ns",
     "time.process_time", "time.process_time_ns", "time.thread_time", "resource.getrusage",
     "psutil.cpu_percent", "psutil.virtual_memory", "tracemalloc.get_traced_memory"}
)  # fmt: skip
ENTROPY = frozenset(
    {"uuid.uuid1", "uuid.uuid4", "os.urandom", "random.SystemRandom", "os.getpid",
     "numpy.random.bit_generator.randbits"}
)  # fmt: skip
MACHINE = frozenset(
    {
        "os.cpu_count", "os.process_cpu_count", "os.sched_getaffinity", "os.uname",
        "multiprocessing.cpu_count", "psutil.cpu_count", "joblib.cpu_count", "platform.machine",
        "platform.processor", "platform.node", "platform.platform", "platform.uname",
        "platform.system", "platform.release", "socket.gethostname", "torch.cuda.is_available",
        "torch.cuda.device_count", "torch.cuda.get_device_name", "torch.cuda.get_device_properties",
        "torch.backends.mps.is_available", "torch.get_num_threads",
        "tensorflow.config.list_physical_devices", "tensorflow.test.gpu_device_name",
        "jax.devices", "jax.device_count", "jax.local_devices", "jax.default_backend",
        "cupy.cuda.runtime.getDeviceCount",
    }
)  # fmt: skip
"""What tells of the machine."""
WIDGET_STATE = frozenset({"value", "index", "label", "selected_index"})
"""Attributes of a widget that a person sets by using it."""
LISTINGS = frozenset(
    {"os.listdir", "os.scandir", "os.walk", "glob.glob", "glob.iglob", "pathlib.Path.iterdir"}
)
LISTING_METHODS = frozenset({"iterdir", "rglob", "glob"})
ORDER_FREE = frozenset(
    {"sorted", "len", "sum", "min", "max", "any", "all", "isin", "difference", "intersection",
     "union", "issubset", "issuperset", "isdisjoint", "Counter", "nunique"}
)  # fmt: skip
LOCAL_TIME = frozenset({"datetime.datetime.fromtimestamp", "datetime.date.fromtimestamp"})
"""What gives the local time of a moment, unless it is given a zone."""
PARALLEL = frozenset(
    {
        "concurrent.futures.as_completed", "concurrent.futures.ThreadPoolExecutor",
        "concurrent.futures.ProcessPoolExecutor", "multiprocessing.Pool", "multiprocessing.Process",
        "multiprocessing.pool.ThreadPool", "threading.Thread", "joblib.Parallel",
        "asyncio.as_completed", "dask.distributed.Client", "dask.distributed.as_completed",
    }
)  # fmt: skip
"""What gives work to threads and processes."""
REMOTE = frozenset(
    {
        "requests.get", "requests.post", "urllib.request.urlopen", "urllib.request.urlretrieve",
        "httpx.get", "datasets.load_dataset", "sklearn.datasets.fetch_openml",
        "sklearn.datasets.fetch_california_housing", "sklearn.datasets.fetch_20newsgroups",
        "yfinance.download", "seaborn.load_dataset", "nltk.download", "gdown.download",
        "kagglehub.dataset_download", "openml.datasets.get_dataset",
    }
)  # fmt: skip

PYTHON2_NAMES = frozenset(
    {"raw_input", "xrange", "unicode", "basestring", "long", "unichr", "execfile", "reload", "cmp",
     "reduce", "file", "apply", "intern", "izip", "buffer", "coerce"}
)  # fmt: skip
PYTHON2_MODULES = frozenset(
    {"urllib2", "ConfigParser", "Queue", "cPickle", "StringIO", "cStringIO", "commands", "Tkinter",
     "httplib", "urlparse", "HTMLParser", "cookielib", "SocketServer", "xmlrpclib", "exceptions",
     "__builtin__", "BaseHTTPServer", "md5", "sets", "tkMessageBox", "tkFileDialog"}
)  # fmt: skip

DISTRIBUTIONS = {
    "cv2": "opencv-python", "sklearn": "scikit-learn", "skimage": "scikit-image", "PIL": "pillow",
    "yaml": "pyyaml", "bs4": "beautifulsoup4", "Bio": "biopython", "dateutil": "python-dateutil",
    "dotenv": "python-dotenv", "fitz": "pymupdf", "git": "gitpython", "googleapiclient":
    "google-api-python-client", "igraph": "python-igraph", "imblearn": "imbalanced-learn", "jwt":
    "pyjwt", "kaggle": "kaggle", "magic": "python-magic", "MySQLdb": "mysqlclient", "OpenSSL":
    "pyopenssl", "osgeo": "gdal", "pkg_resources": "setuptools<81", "psycopg2": "psycopg2-binary",
    "pytorch_lightning": "pytorch-lightning", "serial": "pyserial", "sentence_transformers":
    "sentence-transformers", "skopt": "scikit-optimize", "slugify": "python-slugify",
    "tensorboard": "tensorboard", "tlz": "toolz", "torch": "torch", "umap": "umap-learn",
    "usb": "pyusb", "wx": "wxpython", "zmq": "pyzmq", "Crypto": "pycryptodome", "attr": "attrs",
    "community": "python-louvain", "docx": "python-docx", "pptx": "python-pptx", "faiss":
    "faiss-cpu", "gensim": "gensim", "graphviz": "graphviz", "mpl_toolkits": "matplotlib",
    "pylab": "matplotlib", "sqlalchemy": "SQLAlchemy", "tabula": "tabula-py", "tables": "tables",
    "telegram": "python-telegram-bot", "websocket": "websocket-client", "Levenshtein":
    "levenshtein", "librosa": "librosa", "mlxtend": "mlxtend", "win32api": "pywin32", "ruamel":
    "ruamel.yaml", "nacl": "pynacl", "pyspark": "pyspark", "surprise": "scikit-surprise",
    "kneed": "kneed", "category_encoders": "category-encoders", "pandas_profiling":
    "ydata-profiling", "keras_tuner": "keras-tuner", "stable_baselines3": "stable-baselines3",
    "plotly": "plotly", "ipywidgets": "ipywidgets", "nvidia": "nvidia-ml-py", "pynvml":
    "nvidia-ml-py", "haversine": "haversine", "geopandas": "geopandas", "tensorflow_hub":
    "tensorflow-hub", "tensorflow_datasets": "tensorflow-datasets", "tensorflow_addons":
    "tensorflow-addons", "tensorflow_probability": "tensorflow-probability", "hydra": "hydra-core",
    "pl_bolts": "lightning-bolts", "rdkit": "rdkit", "sksurv": "scikit-survival", "mpl_finance":
    "mpl-finance", "lightgbm": "lightgbm", "apex": "nvidia-apex", "vaderSentiment":
    "vaderSentiment", "wordcloud": "wordcloud", "OpenGL": "pyopengl", "markdown": "Markdown",
    "jose": "python-jose", "ldap": "python-ldap", "memcache": "python-memcached", "rest_framework":
    "djangorestframework", "flask_cors": "flask-cors", "google.cloud.storage":
    "google-cloud-storage", "google.cloud.bigquery": "google-cloud-bigquery", "google.protobuf":
    "protobuf", "azure.storage.blob": "azure-storage-blob", "mpi4py": "mpi4py", "snappy":
    "python-snappy", "lzo": "python-lzo", "cairo": "pycairo", "gi": "pygobject", "parse": "parse",
}  # fmt: skip
"""Import name to distribution, where they differ (or are often asked for)."""

EXTENSIONS = {
    "watermark": "watermark", "sql": "sql", "memit": "memory_profiler", "mprun":
    "memory_profiler", "lprun": "line_profiler", "cython": "Cython", "R": "rpy2.ipython", "Rpush":
    "rpy2.ipython", "Rpull": "rpy2.ipython", "autoreload": "autoreload", "tensorboard":
    "tensorboard", "bigquery": "google.cloud.bigquery", "snakeviz": "snakeviz", "mlrepro":
    "mlrepro_nb", "nb_black": "nb_black", "ai": "jupyter_ai_magics",
}  # fmt: skip
"""Magics that an extension brings, by the name that loads it."""
