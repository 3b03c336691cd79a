// A relay with Socket.IO on node: what a client emits, the others of its room are sent. The first
// argument is a file beside the folder in which Socket.IO is installed.
import { createServer } from "node:http";
import { createRequire } from "node:module";

const { Server } = createRequire(process.argv[2])("socket.io");

const http = createServer();
const io = new Server(http, { transports: ["websocket"], perMessageDeflate: false, serveClient: false });
io.on("connection", (socket) => {
  const room = String(socket.handshake.query.room);
  socket.join(room);
  socket.on("say", (message) => {
    socket.to(room).emit("said", message);
  });
});
http.listen({ host: "127.0.0.1", port: 0, backlog: 2048 }, () => {
  console.log(`listens on ${http.address().port}`);
});
process.on("SIGTERM", () => process.exit(0));
