"""The systems that chatd is compared with: how each is installed, started and spoken to.

    cache       what is installed for them, in a folder of its own; never among chatd's dependencies
    starlette   a bare relay, one that commits each message, and two nodes with Redis between
    socketio    Socket.IO: python-socketio on uvicorn, and the original on node
    nats        the NATS server, over WebSocket
    ejabberd    XMPP over WebSocket (RFC 7395)
    servers     the programs that some of them are, each written as its documentation would have it

They relay and keep nothing, unless their name says otherwise. None compresses, for chatd does not either.
"""
