"""Many runs: which ones a grid asks for, who computes them where, and the file that keeps their records.

grid.py      lists of options, from a command or a file, to configurations; values.py reads a list
ledger.py    DIR/records.jsonl, a line for each run that has ended
schedule.py  what is left to do, and each record into the ledger as it comes
workers.py   who does it: this process, the processes of local.py, or the cluster of cluster.py
worker.py    one run, wherever it is computed
estimate.py  how long it will take
"""
