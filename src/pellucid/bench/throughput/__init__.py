"""Pictures a second, one by one, in batches, and in slots.

Pictures whose reconstruction starts at times spread over the whole schedule, so that some need one network call and
some all of them. What is compared does the same work in other orders:

    one by one   every picture alone
    padded       batches in the order of arrival; the network is called on the whole batch until its last picture ends
    shrinking    the same batches by `reconstruct`, which calls the network for the pictures that still need it
    sorted       padded batches of pictures that need about as many calls, which one must know of all beforehand
    slots        `stream`

Efficiency is (sum of NFE x seconds of one bare call on a full batch / batch) / seconds: 1 is a machine that does
nothing but full network calls. Bare calls are timed before and after every run, in the same process, and the ways take
turns.
"""
