"""The test harness of tailrace: real servers, real kills, one oracle. Standard library + psycopg2."""
from .case import Case
from .common import (CI, PATIENCE, ROOT, SANITIZED, Dead, Timeout, end, free_port, log, proc_status,
                     run, skip, spawn, temp_dir, wait_for)
from .kafka import Kafka, Topics
from .load import ACCOUNTS, ACCOUNTS_SUM, LEDGER, Checkpoints, Load, Loads
from .oracle import (change_identity, columns, pg_equal, pg_rows, published_files, quote, read_folder,
                     read_jsonl, replay, sqlite_columns, sqlite_equal, sqlite_open, sqlite_query,
                     stream_holds_each_once, wait_equal, whole_history)
from .pipeline import Run, cli
from .postgres import Database, Postgres, stay_awake
from .proxy import Proxy
