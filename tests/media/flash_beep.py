#!/usr/bin/env python3
"""Measures how well picture and sound of a media file fit together, when what they show is scripts/camera.py.

usage: flash_beep.py FILE [AFTER]

AFTER: seconds from the beginning of the file that are left out of the offsets (default 0).

Once a second the camera turns its picture white and sounds a beep, both at the same moment. Printed is one JSON object:

    offsets_ms  for each flash that has a beep: by how much the beep begins later than the flash (negative: earlier)
    worst_ms    the greatest of them, without its sign; null when there are none
    flashes_s   when the flashes begin, in seconds of the file's own time
    beeps_s     when the beeps begin
    unmatched   how many of both are alone, those aside whose partner may lie outside of the file

A flash or beep that is under way when the file begins is left out: when it began isn't known. A flash is found to the
frame, a beep to 1 ms. The exit status is 0 when there are offsets, and 1 when there are none. Needs ffmpeg and ffprobe.
"""
import json
import re
import subprocess
import sys

WHITE = 190      # Mean luma, of 255. The pattern stays far below; white is 235 or more.
SILENCE = 0.01   # Of full scale. With nothing louder than this there are no beeps.
REST = 0.2       # Seconds without, before the next flash or beep counts: noise at an edge is no edge of its own.
PARTNER = 0.5    # Seconds. What is further away belongs to the next second.


def run(*command):
    return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=True).stdout


def measure(file, stream, filters, sink, key):
    """(time in seconds, value) for each frame of a stream, in the order of time, as ffmpeg's filters find it."""
    text = run("ffmpeg", "-nostdin", "-v", "fatal", "-copyts", "-i", file, "-map", f"0:{stream}",
               "-filter:0", f"{filters},{sink}=mode=print:key={key}:file=-", "-f", "null", "-")
    found = re.findall(rf"pts_time:([-.\d]+)\n{re.escape(key)}=(\S+)", text)
    return sorted((float(time), float(value)) for time, value in found)


def picture(file):
    # Made small first: its mean stays the same, and is found sooner.
    return measure(file, "v:0", "scale=64:36:flags=area,format=gray,signalstats", "metadata", "lavfi.signalstats.YAVG")


def sound(file):
    rate = int(run("ffprobe", "-v", "fatal", "-select_streams", "a:0", "-show_entries", "stream=sample_rate",
                   "-of", "default=nokey=1:noprint_wrappers=1", file).split()[0])
    # In pieces of 1 ms, one wave of the tone. Each has the time of its first sample, behind gaps too.
    return [(time, 10 ** (decibels / 20)) for time, decibels in measure(
        file, "a:0", f"asetnsamples=n={rate // 1000}:p=0,astats=metadata=1:reset=1:measure_perchannel=none",
        "ametadata", "lavfi.astats.Overall.RMS_level")]


def beginnings(levels, threshold):
    """When the level comes to the threshold, after a rest below it."""
    times, below_since = [], None
    for time, level in levels:
        if level < threshold:
            below_since = time if below_since is None else below_since
        else:
            if below_since is not None and time - below_since >= REST:
                times.append(time)
            below_since = None
    return times


def alone(times, others, levels):
    """How many have no partner among the others, whose levels reach far enough before and behind to have shown one."""
    return sum(
        all(abs(time - other) > PARTNER for other in others)
        and levels[0][0] + REST + PARTNER <= time <= levels[-1][0] - PARTNER
        for time in times)


def judge(file, after):
    luma, loudness = picture(file), sound(file)
    loudest = max(level for _, level in loudness)
    flashes = beginnings(luma, WHITE)
    # Half of the loudest is half way up the edge, which is where it stays when a codec blurs it.
    beeps = beginnings(loudness, max(loudest / 2, SILENCE))
    offsets = []
    for flash in (time for time in flashes if time >= after):
        nearest = min(beeps, key=lambda beep: abs(beep - flash), default=None)
        if nearest is not None and abs(nearest - flash) <= PARTNER:
            offsets.append(round((nearest - flash) * 1000, 1))
    return {
        "offsets_ms": offsets,
        "worst_ms": max(map(abs, offsets), default=None),
        "flashes_s": [round(time, 3) for time in flashes],
        "beeps_s": [round(time, 3) for time in beeps],
        "unmatched": alone(flashes, beeps, loudness) + alone(beeps, flashes, luma),
    }


def main():
    if len(sys.argv) not in (2, 3) or sys.argv[1] in ("-h", "--help"):
        sys.exit(__doc__)
    try:
        result = judge(sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 0)
    except (subprocess.CalledProcessError, IndexError, ValueError):
        sys.exit(f"flash_beep.py: {sys.argv[1]} isn't a file with picture and sound that ffmpeg can read")
    print(json.dumps(result))
    sys.exit(0 if result["offsets_ms"] else 1)


if __name__ == "__main__":
    main()
