# ruff: noqa: E501 - outputs are told as they are printed
"""Pairs of what a cell printed: those that say the same, and those that do not.

Each pair stands with its counterpart of the same library or form: what is noise in the
first list has a real change beside it in the second.
"""

TQDM = "{d}100%|██████████| {n}/{n} [00:0{s}<00:00, {r}it/s{p}]\n"
SUMMARY = """\
                            OLS Regression Results
==============================================================================
Dep. Variable:                Lottery   R-squared:                       {r2}
Model:                            OLS   Adj. R-squared:                  0.333
Method:                 Least Squares   F-statistic:                     22.20
Date:                {date}   Prob (F-statistic):           1.90e-08
Time:                        {time}   Log-Likelihood:                -379.82
No. Observations:                  86   AIC:                             765.6
==============================================================================
"""
CATBOOST = """\
0:	learn: 0.6812	total: {t}ms	remaining: {u}s
100:	learn: {l}	total: 4.{t}s	remaining: 0us
"""
KERAS2 = """\
Epoch 1/2
32/32 [==============================] - {s}s {m}ms/step - loss: 0.6931 - accuracy: 0.5010
Epoch 2/2
32/32 [==============================] - 0s {m}ms/step - loss: {l} - accuracy: 0.7210
"""
KERAS3 = "\r\x1b[1m 1/32\x1b[0m \x1b[37m━━━━━━━━━━━━━━━━━━━━\x1b[0m \x1b[1m{s}s\x1b[0m 99ms/step - loss: 0.9\r\x1b[1m32/32\x1b[0m \x1b[32m━━━━━━━━━━━━━━━━━━━━\x1b[0m\x1b[37m\x1b[0m \x1b[1m{s}s\x1b[0m {m}ms/step - accuracy: {a} - loss: 0.5321\n"
CV = "{{'fit_time': array([{a}, 0.0021, 0.0019]), 'score_time': array([0.0007, {a}, 0.0006]), 'test_score': array([{s}, 0.9, 0.93])}}"
PROFILE = """\
         {n} function calls in {t} seconds

   Ordered by: internal time

   ncalls  tottime  percall  cumtime  percall filename:lineno(function)
        1    {t}    0.010    {t}    0.010 <string>:1(f)
"""
FRAME = """\
   city  price   n
0  Oslo   1.50  10
1  Rome   {p}  20
2  Lima   0.30  30
"""
TENSOR = "tensor([[ 1.5410, -0.2934, {v}],\n        [ 0.5684, -1.0845, -1.3986]])"
ARRAY = "array([[ 0.12573022, -0.13210486,  0.6404226{d}],\n       [-0.53566937,  0.36159505,  1.30400005]])"

BENIGN = {
    "address in a repr": ("<a.B object at 0x7f123456>", "<a.B object at 0x7faaaaaa>"),
    "address of a function": ("<function <lambda> at 0x10f3c2d40>", "<function <lambda> at 0x7f0123456789>"),
    "addresses in a list": ("[<A at 0x7f0a1b2c3d40>, 5]", "[<A at 0x7f99999c3d40>, 5]"),
    "id in a repr": ("<Client object=140234123412>", "<Client object=140234999999>"),
    "took": ("training took 1.2 s", "training took 3.4 s"),
    "took, other units": ("fit took 1min 3s", "fit took 58.2 s"),
    "wall time": ("Wall time: 3 ms", "Wall time: 4.5 µs"),
    "%time": ("CPU times: user 1.2 s, sys: 3 ms, total: 1.2 s\nWall time: 1.2 s", "CPU times: user 99 ms, sys: 0 ns, total: 99 ms\nWall time: 88 ms"),
    "%timeit": ("12.3 ns ± 0.5 ns per loop (mean ± std. dev. of 7 runs, 100,000,000 loops each)", "4.1 µs ± 9 ns per loop (mean ± std. dev. of 7 runs, 10 loops each)"),
    "%timeit of old": ("10000 loops, best of 3: 25.6 µs per loop", "The slowest run took 4.57 times longer than the fastest. This could mean that an intermediate result is being cached.\n100 loops, best of 5: 2.5 ms per loop"),
    "NumPy's scalars of old": ("[9, 0.5, True, 'a', (1+2j)]", "[np.int64(9), np.float64(0.5), np.True_, np.str_('a'), np.complex128(1+2j)]"),
    "%memit": ("peak memory: 120.41 MiB, increment: 0.50 MiB", "peak memory: 99.00 MiB, increment: 1.25 MiB"),
    "%prun": (PROFILE.format(n=4, t="0.020"), PROFILE.format(n=4, t="0.031")),
    "keras 2": (KERAS2.format(s=1, m=2, l="0.4210"), KERAS2.format(s=0, m=1, l="0.4210")),
    "keras 3": (KERAS3.format(s=1, m=12, a="0.7812"), KERAS3.format(s=0, m=3, a="0.7812")),
    "keras, a line an epoch": ("32/32 - 1s - loss: 0.2436 - 810ms/epoch - 25ms/step", "32/32 - 0s - loss: 0.2436 - 95ms/epoch - 3ms/step"),
    "tqdm": (TQDM.format(d="", n=10, s=0, r="4.2", p=""), TQDM.format(d="", n=10, s=3, r="1.21", p="")),
    "tqdm with a metric": (TQDM.format(d="Epoch 3: ", n=32, s=0, r="41.2", p=", loss=0.53"), TQDM.format(d="Epoch 3: ", n=32, s=3, r="9.13", p=", loss=0.53")),
    "tqdm, stopped between": ("100%|####| 10/10 [00:00<00:00, 4.2it/s]\n", " 10%|#  | 1/10 [00:03<?, ?it/s]\n"),
    "tqdm, nested": ("outer:   0%|          | 0/2 [00:00<?, ?it/s]\n\rinner:  50%|█     | 1/2 [00:00<00:00, 3.1it/s]\x1b[A\n\rinner: 100%|██████| 2/2 [00:00<00:00, 3.1it/s]\x1b[A\router: 100%|██████| 2/2 [00:01<00:00, 1.5it/s]\n", "outer:   0%|          | 0/2 [00:00<?, ?it/s]\n\rinner: 100%|██████| 2/2 [00:00<00:00, 9.9it/s]\x1b[A\router: 100%|██████| 2/2 [00:00<00:00, 6.5it/s]\n"),
    "tqdm, unsized": ("1203it [00:01, 841.20it/s]", "1203it [00:00, 2841.72it/s]"),
    "rich": ("Working... ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━ 100% 0:00:03", "Working... ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━ 100% 0:00:01"),
    "pip": ("   ━━━━━━━━━━━━━━━━━━━━ 1.2/1.2 MB 5.0 MB/s eta 0:00:00", "   ━━━━━━━━━━━━━━━━━━━━ 1.2/1.2 MB 15.2 MB/s eta 0:00:00"),
    "a counter drawn over": ("a\r 50%\rdone\n", "done\n"),
    "backspaces": ("50%\b\b\b100%\n", "100%\n"),
    "catboost": (CATBOOST.format(t=47, u=4, l="0.1203"), CATBOOST.format(t=51, u=5, l="0.1203")),
    "lightgbm": ("[LightGBM] [Info] Auto-choosing col-wise multi-threading, the overhead of testing was 0.000123 seconds.", "[LightGBM] [Info] Auto-choosing col-wise multi-threading, the overhead of testing was 0.002001 seconds."),
    "joblib": ("[Parallel(n_jobs=1)]: Done   5 out of   5 | elapsed:    0.1s finished", "[Parallel(n_jobs=1)]: Done   5 out of   5 | elapsed:    2.3s finished"),
    "grid search": ("[CV] END .................C=1, kernel=rbf; total time=   0.0s", "[CV] END .................C=1, kernel=rbf; total time=   1.4s"),
    "cross_validate": (CV.format(a="0.0031", s="0.91"), CV.format(a="0.0102", s="0.91")),
    "Trainer's dict": ("{'train_runtime': 12.31, 'train_samples_per_second': 100.2, 'train_loss': 0.51, 'epoch': 1.0}", "{'train_runtime': 10.02, 'train_samples_per_second': 123.9, 'train_loss': 0.51, 'epoch': 1.0}"),
    "unittest": ("Ran 3 tests in 0.002s\n\nOK", "Ran 3 tests in 0.013s\n\nOK"),
    "pytest": ("===== 3 passed in 0.12s =====", "===== 3 passed in 1.02s ====="),
    "statsmodels' heading": (SUMMARY.format(r2="0.348", date="Mon, 01 Jan 2024", time="12:00:01"), SUMMARY.format(r2="0.348", date="Tue, 13 Feb 2024", time="08:31:59")),
    "lifelines' heading": ("time fit was run = 2024-01-02 10:11:12 UTC\nconcordance = 0.64", "time fit was run = 2025-03-02 10:00:00 UTC\nconcordance = 0.64"),
    "a log line": ("2024-01-02 10:11:12,123 - train - INFO - loss 0.5", "2025-11-22 08:00:01,007 - train - INFO - loss 0.5"),
    "optuna": ("[I 2024-01-01 12:00:00,123] Trial 0 finished with value: 0.51", "[I 2025-02-11 09:41:20,700] Trial 0 finished with value: 0.51"),
    "glog": ("I0000 00:00:1731234567.123456  1234 cuda_dnn.cc:529] Loaded cuDNN", "I0000 00:00:1751234567.903456  9876 cuda_dnn.cc:529] Loaded cuDNN"),
    "spark": ("24/01/02 10:11:12 WARN NativeCodeLoader: Unable to load", "25/06/30 01:01:01 WARN NativeCodeLoader: Unable to load"),
    "pid": ("started worker, pid 1234", "started worker, pid 99871"),
    "local port": ("Dashboard: http://127.0.0.1:8787/status", "Dashboard: http://127.0.0.1:43211/status"),
    "a scheduler's address": ("tcp://127.0.0.1:34567 memory: 4", "tcp://127.0.0.1:44011 memory: 4"),
    "hostname": ("hostname: node-17.cluster", "hostname: laptop"),
    "a tracker's run": ("View run at: http://localhost:5000/#/experiments/1/runs/0a1b2c3d4e5f60718293a4b5c6d7e8f9", "View run at: http://localhost:5000/#/experiments/1/runs/ffeeddccbbaa99887766554433221100"),
    "a run's id": ("Run ID: 0a1b2c3d4e5f60718293a4b5c6d7e8f9", "Run ID: ffeeddccbbaa99887766554433221100"),
    "temporary file": ("/tmp/tmpab12/x.csv", "/tmp/tmpzz/x.csv"),
    "temporary folder": ("in /tmp/tmpab12xy", "in /var/folders/x1/y2/T/tmpzz91ab"),
    "another home": ("saved to /home/alice/p/model.pkl", "saved to /root/q/model.pkl"),
    "installed code": ("/a/lib/python3.9/site-packages/p/q.py:12: Warning", "/b/lib/python3.11/site-packages/p/q.py:9: Warning"),
    "kernel's file": ("/tmp/ipykernel_123/4567.py:3: UserWarning: x", "/tmp/ipykernel_9/1.py:3: UserWarning: x"),
    "float noise": ("0.30000000000000004", "0.3"),
    "plain floats with noise in every line": ("0.30000000000000004 2.5\n1.25 7", "0.3 2.5\n1.2500000000000002 7"),
    "what a search measured, as it shows it": ("{'me...me': array([0.0137..., 0.0024]), 'st...me': array([0.1, 0.2])}", "{'me...me': array([0.0012..., 0.0037]), 'st...me': array([0.3, 0.1])}"),
    "float noise in prose": ("mean 0.1234567890123456, n 5", "mean 0.1234567890123461, n 5"),
    "array's last place": (ARRAY.format(d=5), ARRAY.format(d=6)),
    "tensor, another device's minus zero": (TENSOR.format(v="-2.1788"), TENSOR.format(v="-2.1788") + "\n"),
    "dict's order": ("{'a': 1, 'b': 2}", "{'b': 2, 'a': 1}"),
    "wrapped elsewhere": ("[1 2\n 3]", "[1\n 2 3]"),
    "colours": ("\x1b[31mred\x1b[0m", "red"),
    "line ends": ("x  \r\ny\n", "x\ny"),
    "frame with float noise": (FRAME.format(p="2.25"), FRAME.format(p="2.250000000000001")),
    "grid search's table": ("   mean_fit_time  params  score\n0       0.001201  {'C': 1}   0.91\n1       0.002100  {'C': 2}   0.93", "   mean_fit_time  params  score\n0         0.0112  {'C': 1}   0.91\n1       0.003900  {'C': 2}   0.93"),
    "download": ("Downloaded 12 files in 3.2s (1.2 MB/s)", "Downloaded 12 files in 0.9s (4.4 MB/s)"),
}  # fmt: skip

REAL = {
    "another scalar of NumPy": ("np.int64(9)", "np.int64(8)"),
    "whole numbers beside float noise": ("0.30000000000000004 1000000000001\n1.25 7", "0.3 1000000000002\n1.2500000000000002 7"),
    "what a search scored, as it shows it": ("{'me...re': array([0.81, 0.82])}", "{'me...re': array([0.71, 0.82])}"),
    "a scalar of NumPy and another number": ("0.5", "np.float64(0.25)"),
    "repr of another class": ("<a.B object at 0x7f123456>", "<a.C object at 0x7f123456>"),
    "another argument": ("functools.partial(<function f at 0x10f3c2d40>, 2)", "functools.partial(<function f at 0x10f3c2d40>, 3)"),
    "beside an address": ("[<A at 0x7f0a1b2c3d40>, 5]", "[<A at 0x7f99999c3d40>, 6]"),
    "a constant in hex": ("0xdeadbeef", "0xdeadbee0"),
    "metric beside a time": ("training took 1.2 s, accuracy 0.93", "training took 3.4 s, accuracy 0.91"),
    "metric with a unit of time": ("MAE: 3.2 s", "MAE: 4.1 s"),
    "metric with a unit beside a time": ("RMSE: 3.2 s (took 1.0 s)", "RMSE: 4.1 s (took 0.8 s)"),
    "a physical constant": ("half-life 5 s", "half-life 6 s"),
    "a predicted time": ("predicted: 12.5 min", "predicted: 15.5 min"),
    "a time of departure": ("next train 12:30, search took 3 ms", "next train 12:45, search took 2 ms"),
    "a speed": ("v = 12.5 m/s", "v = 13.5 m/s"),
    "result of %%timeit's cell": ("4.1 µs ± 9 ns per loop (mean ± std. dev. of 7 runs, 10 loops each)\n42", "4.1 µs ± 9 ns per loop (mean ± std. dev. of 7 runs, 10 loops each)\n43"),
    "count of calls": (PROFILE.format(n=4, t="0.020"), PROFILE.format(n=5, t="0.020")),
    "keras 2's loss": (KERAS2.format(s=1, m=2, l="0.4210"), KERAS2.format(s=0, m=1, l="0.4410")),
    "keras 3's accuracy": (KERAS3.format(s=1, m=12, a="0.7812"), KERAS3.format(s=0, m=3, a="0.7512")),
    "keras' steps": ("32/32 - 1s - loss: 0.2436 - 25ms/step", "64/64 - 1s - loss: 0.2436 - 25ms/step"),
    "tqdm's total": (TQDM.format(d="", n=10, s=0, r="4.2", p=""), TQDM.format(d="", n=20, s=3, r="1.21", p="")),
    "tqdm's metric": (TQDM.format(d="Epoch 3: ", n=32, s=0, r="41.2", p=", loss=0.53"), TQDM.format(d="Epoch 3: ", n=32, s=3, r="9.13", p=", loss=0.58")),
    "tqdm's description": (TQDM.format(d="train: ", n=32, s=0, r="41.2", p=""), TQDM.format(d="valid: ", n=32, s=3, r="9.13", p="")),
    "tqdm's count without a size": ("1203it [00:01, 841.20it/s]", "1210it [00:00, 2841.72it/s]"),
    "behind a bar": ("Working... ━━━━━━━━━━━━━━━━━━━━ 100% 0:00:03\nfound 17", "Working... ━━━━━━━━━━━━━━━━━━━━ 100% 0:00:01\nfound 18"),
    "size of a download": ("   ━━━━━━━━━━ 1.2/1.2 MB 5.0 MB/s eta 0:00:00", "   ━━━━━━━━━━ 2.2/2.2 MB 5.0 MB/s eta 0:00:00"),
    "what was drawn last": ("a\r 50%\rdone: 5\n", "a\r 50%\rdone: 6\n"),
    "catboost's loss": (CATBOOST.format(t=47, u=4, l="0.1203"), CATBOOST.format(t=51, u=5, l="0.1293")),
    "lightgbm's data": ("[LightGBM] [Info] Number of data points in the train set: 100, number of used features: 4", "[LightGBM] [Info] Number of data points in the train set: 120, number of used features: 4"),
    "joblib's tasks": ("[Parallel(n_jobs=1)]: Done   5 out of   5 | elapsed:    0.1s finished", "[Parallel(n_jobs=1)]: Done   6 out of   6 | elapsed:    0.1s finished"),
    "grid's parameter": ("[CV] END .................C=1, kernel=rbf; total time=   0.0s", "[CV] END .................C=2, kernel=rbf; total time=   0.0s"),
    "cross_validate's score": (CV.format(a="0.0031", s="0.91"), CV.format(a="0.0102", s="0.92")),
    "Trainer's loss": ("{'train_runtime': 12.31, 'train_loss': 0.51, 'epoch': 1.0}", "{'train_runtime': 10.02, 'train_loss': 0.52, 'epoch': 1.0}"),
    "number of tests": ("Ran 3 tests in 0.002s\n\nOK", "Ran 4 tests in 0.013s\n\nOK"),
    "a test that fails": ("===== 3 passed in 0.12s =====", "===== 2 passed, 1 failed in 1.02s ====="),
    "statsmodels' R²": (SUMMARY.format(r2="0.348", date="Mon, 01 Jan 2024", time="12:00:01"), SUMMARY.format(r2="0.351", date="Tue, 13 Feb 2024", time="08:31:59")),
    "lifelines' concordance": ("time fit was run = 2024-01-02 10:11:12 UTC\nconcordance = 0.64", "time fit was run = 2025-03-02 10:00:00 UTC\nconcordance = 0.66"),
    "logged loss": ("2024-01-02 10:11:12,123 - train - INFO - loss 0.5", "2025-11-22 08:00:01,007 - train - INFO - loss 0.6"),
    "optuna's value": ("[I 2024-01-01 12:00:00,123] Trial 0 finished with value: 0.51", "[I 2025-02-11 09:41:20,700] Trial 0 finished with value: 0.55"),
    "a date": ("2024-01-02", "2024-01-03"),
    "a date in a frame": ("0  2024-01-02  5\n1  2024-01-03  6", "0  2024-01-02  5\n1  2024-01-04  6"),
    "times of a table": ("12:30:00 - Oslo: 5\n13:30:00 - Rome: 6", "12:30:00 - Oslo: 5\n13:45:00 - Rome: 6"),
    "a date with a label": ("Date: 2020-03-01 max 31.2", "Date: 2020-03-04 max 31.2"),
    "how many workers": ("Dashboard: http://127.0.0.1:8787/status workers=4", "Dashboard: http://127.0.0.1:43211/status workers=8"),
    "a path on a host": ("http://127.0.0.1:8787/status", "http://127.0.0.1:8787/failed"),
    "a drawn id": ("7b7b2c1e-1111-4222-8333-123456789abc", "9c9b2c1e-1111-4222-8333-123456789abc"),
    "a digest": ("sha256 0a1b2c3d4e5f60718293a4b5c6d7e8f9", "sha256 ffeeddccbbaa99887766554433221100"),
    "another temporary file": ("/tmp/tmpab12/train.csv", "/tmp/tmpzz/test.csv"),
    "another file": ("saved to /home/alice/p/model.pkl", "saved to /home/alice/p/other.pkl"),
    "metric behind a path": ("/home/a/p/model.pkl scores 0.93", "/root/p/model.pkl scores 0.91"),
    "accuracy": ("accuracy 0.93", "accuracy 0.91"),
    "last of four decimals": ("AUC 0.9312", "AUC 0.9313"),
    "sign": ("1.5", "-1.5"),
    "exponent": ("1e-3", "1e-4"),
    "large whole number": ("10000000001", "10000000002"),
    "cents": ("total 1,234,567.89", "total 1,234,567.90"),
    "array's seventh place": (ARRAY.format(d=5), ARRAY.format(d=9)),
    "tensor": (TENSOR.format(v="-2.1788"), TENSOR.format(v="-2.1789")),
    "gradient": ("tensor([3.], grad_fn=<MulBackward0>)", "tensor([3.], grad_fn=<AddBackward0>)"),
    "dict's value": ("{'a': 1}", "{'a': 2}"),
    "list's order": ("['b', 'a']", "['a', 'b']"),
    "a line less": ("a\nb", "a"),
    "version": ("v1.2.3", "v1.2.4"),
    "truth": ("True", "False"),
    "nan": ("nan", "0"),
    "nothing": ("x", ""),
    "frame's cell": (FRAME.format(p="2.25"), FRAME.format(p="2.35")),
    "grid search's scores": ("   mean_fit_time  params  score\n0       0.001201  {'C': 1}   0.91\n1       0.002100  {'C': 2}   0.93", "   mean_fit_time  params  score\n0       0.011201  {'C': 1}   0.91\n1       0.003900  {'C': 2}   0.95"),
    "files downloaded": ("Downloaded 12 files in 3.2s (1.2 MB/s)", "Downloaded 11 files in 0.9s (4.4 MB/s)"),
    "loss beside its time": ("Epoch 1: loss 0.5000, time: 12.31s", "Epoch 1: loss 0.5100, time: 9.9s"),
    "column of a runtime": ("title  runtime\nAlien      117", "title  runtime\nAlien      116"),
}  # fmt: skip
