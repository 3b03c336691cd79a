"""The load harness: what chatd costs, how fast it is, and whether anything is lost under load. `python -m load --help`.

It talks to a system only over its sockets, measures the server from outside (/proc), and checks every single message
on the way. See docs/load.md.

    websocket    one connection: handshake and frames, on asyncio, made to cost little
    dialects     what the frames say: chatd's protocol, or that of a bare relay
    client       one client: hello, resume, what was heard; a sender of messages
    check        numbers that must rise by one: losses, doubles, disorder
    traffic      senders and receivers together: windows, paces, latencies
    scenarios    pairs, relay and fanout; crowds: idle, handshakes, storm; day: a shop's day, with mails
    turns        systems and scenarios in turns
    systems      what can be loaded, and how it is started; chatd is the first
    peers        the systems that chatd is compared with
    registry     all of them by name
    processes    starting a server on a core of its own
    measure      percentiles, medians, CPU and memory of a process
    report       rows, JSON, HTML; plots: its pictures; markdown: a table for the README
    goals        what chatd has set itself beside others, and whether a run shows it
"""
