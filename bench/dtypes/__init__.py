"""Each type that CTranslate2 computes in here: quality, memory, speed, and what `dtype = "auto"` makes of it.

    python -m bench.dtypes --json dtypes.json                  the bundled model, the whole suite: the figures to report
    python -m bench.dtypes --problems 20 --rounds 3            a try
    python -m bench.dtypes --problems 0                        speed and memory only
    python -m bench.dtypes --model FOLDER                      any model folder with `hf/`

Needs torch and transformers: every type is converted from `hf/`, in a temporary folder, as `touchstone models convert`
does it. One row more computes the int8 weights in float32, which is what `auto` has besides where only int8 is shipped.

Quality: each type in a process of its own, one after another, the same problems in the same order, one thread, and
CTranslate2's seed set before its only drawing thread exists, so that a run repeats exactly. Between types the draws are
the same only until the first token that differs: all rows draw from one stream, and a row that becomes longer shifts it
for all that follow. The differences to float32 are therefore paired by problem, not by draw; the greedy column has no
draws in it.

Speed: a process a type, all loaded and taking turns, a round each; medians of the rounds. One row is greedy, sixteen
are sampled as one request, all to full length, through the engine with the threads that serve. `auto` is a process of
its own on a folder with every conversion; its ratio to the best type is the median of the rounds' ratios, so two
processes of the same type show how far such ratios scatter.
"""
