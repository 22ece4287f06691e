"""Who talks when, as a picture: the activity that ``unbabble separate`` has found.

unbabble separate examples/four-talkers.opus --out out --names Ann,Ben,Eva,Leo --activity csv
python docs/who_talks.py out/four-talkers/separation.csv --out docs/four-talkers.png
"""

import argparse
import csv
from pathlib import Path

import matplotlib.pyplot as plt


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("activity", type=Path, help="the CSV with the turns")
    parser.add_argument("--out", type=Path, required=True, help="the PNG to write")
    options = parser.parse_args()
    with options.activity.open(encoding="utf-8", newline="") as file:
        turns = list(csv.DictReader(file))
    people = list(dict.fromkeys(turn["speaker"] for turn in turns))
    figure, axis = plt.subplots(figsize=(9, 0.5 + 0.4 * len(people)), layout="constrained")
    for row, name in enumerate(people):
        spans = [(float(turn["start_s"]), float(turn["end_s"])) for turn in turns if turn["speaker"] == name]
        axis.broken_barh([(start, end - start) for start, end in spans], (row - 0.35, 0.7), color=f"C{row}")
    axis.set_yticks(range(len(people)), people)
    axis.invert_yaxis()
    axis.set_xlim(0, max(float(turn["end_s"]) for turn in turns))
    axis.set_xlabel("time (s)")
    figure.savefig(options.out, dpi=110)


if __name__ == "__main__":
    main()
