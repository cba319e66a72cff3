"""The conformance suite: one driver after the other through the same cases, on a live cluster, with a report.

    profile.py  what a kind of claim is asked, and which mistakes it must refuse
    bench.py    the small vocabulary of cases: claims, probes, pods, what is left
    probing.py  the pods in which a connection is used, and the questions
    listing.py  all that can be in a namespace
    room.py     how many claims the nodes can carry
    probe.py    the application that uses a connection, in the cluster
    cases.py    the cases: one function each
    setting.py  the class, and what it needs around it
    running.py  one kind after the other, every case in turn
    report.py   Markdown and JUnit

It knows kinds of claims and capabilities, never drivers: what a driver needs around it is in `fixtures/`, and a class
says by annotations what is not to be expected of it.
"""
