"""Well-known names that libraries have removed, and the last version that had each.

From the release notes of the libraries: NumPy 1.24 and 2.0, pandas 0.25, 1.0 and 2.0,
scikit-learn 0.20, 0.23, 1.0 and 1.2, SciPy 1.2, 1.3, 1.13 and 1.14, Matplotlib 3.9, NetworkX 3.0,
gensim 4.0, TensorFlow 2.0. What removes a module shows in the index's wheels, too: this is
for names that are made when a library runs, and for where no index can be asked.
"""

from __future__ import annotations

_BY_VERSION: dict[tuple[str, str], str] = {
    ("numpy", "1.23.5"): "numpy.bool numpy.int numpy.float numpy.complex numpy.object numpy.str",
    ("numpy", "1.26.4"): (
        "numpy.NaN numpy.NAN numpy.Inf numpy.Infinity numpy.infty numpy.PINF numpy.NINF numpy.PZERO"
        " numpy.NZERO numpy.float_ numpy.complex_ numpy.unicode_ numpy.string_ numpy.cfloat"
        " numpy.longfloat numpy.singlecomplex numpy.product numpy.cumproduct numpy.sometrue"
        " numpy.alltrue numpy.msort numpy.cast numpy.source numpy.who numpy.find_common_type"
        " numpy.asfarray numpy.issubsctype numpy.obj2sctype numpy.sctypes numpy.mat numpy.round_"
        " numpy.set_string_function numpy.recfromcsv numpy.recfromtxt numpy.safe_eval numpy.disp"
        " ndarray.newbyteorder ndarray.itemset ndarray.ptp"
    ),
    ("pandas", "0.24.2"): "pandas.Panel",
    ("pandas", "0.25.3"): (
        "DataFrame.ix Series.ix DataFrame.get_value DataFrame.set_value pandas.SparseDataFrame"
        " pandas.SparseSeries pandas.read_msgpack DataFrame.to_msgpack Series.get_value"
    ),
    ("pandas", "1.5.3"): (
        "DataFrame.append Series.append DataFrame.iteritems Series.iteritems DataFrame.lookup"
        " DataFrame.mad Series.mad DataFrame.tshift DataFrame.slice_shift Series.slice_shift"
        " pandas.Int64Index pandas.UInt64Index pandas.Float64Index pandas.datetime"
        " numeric_only Series.is_monotonic Index.is_monotonic pandas.util.testing pandas.np"
    ),
    ("scikit-learn", "0.19.2"): (
        "sklearn.cross_validation sklearn.grid_search sklearn.learning_curve sklearn.lda"
        " sklearn.qda"
    ),
    ("scikit-learn", "0.22.2.post1"): "sklearn.externals.joblib sklearn.externals.six",
    ("scikit-learn", "0.24.2"): "sklearn.datasets.fetch_mldata",
    ("scikit-learn", "1.1.3"): (
        "sklearn.datasets.load_boston sklearn.metrics.plot_confusion_matrix"
        " sklearn.metrics.plot_roc_curve sklearn.metrics.plot_precision_recall_curve"
        " CountVectorizer.get_feature_names TfidfVectorizer.get_feature_names"
        " OneHotEncoder.get_feature_names PolynomialFeatures.get_feature_names"
        " DictVectorizer.get_feature_names ColumnTransformer.get_feature_names"
    ),
    ("scipy", "1.1.0"): "scipy.misc.imread scipy.misc.imsave scipy.misc.imshow scipy.misc.imfilter",
    ("scipy", "1.2.3"): "scipy.misc.imresize scipy.misc.imrotate scipy.misc.bytescale",
    ("scipy", "1.12.0"): (
        "scipy.signal.hann scipy.signal.hamming scipy.signal.gaussian scipy.signal.blackman"
    ),
    ("scipy", "1.13.1"): (
        "scipy.integrate.simps scipy.integrate.trapz scipy.integrate.cumtrapz"
    ),
    ("matplotlib", "3.8.4"): "matplotlib.cm.get_cmap matplotlib.cm.register_cmap",
    ("networkx", "2.8.8"): (
        "networkx.info networkx.from_numpy_matrix networkx.to_numpy_matrix"
        " networkx.read_gpickle networkx.write_gpickle networkx.OrderedGraph"
    ),
    ("gensim", "3.8.3"): (
        "gensim.summarization Word2Vec.similar_by_word Word2Vec.most_similar KeyedVectors.vocab"
        " KeyedVectors.index2entity Word2Vec.doesnt_match"
    ),
    ("tensorflow", "1.15.5"): (
        "tensorflow.contrib tensorflow.placeholder tensorflow.Session tensorflow.ConfigProto"
        " tensorflow.get_default_graph tensorflow.global_variables_initializer"
        " tensorflow.InteractiveSession tensorflow.reset_default_graph tensorflow.app"
        " tensorflow.set_random_seed tensorflow.log tensorflow.get_variable tensorflow.logging"
    ),
}  # fmt: skip

REMOVED: dict[str, tuple[str, str]] = {
    name: pair for pair, names in _BY_VERSION.items() for name in names.split()
}
"""By the name as it is used: the distribution, and the last version that had it."""
