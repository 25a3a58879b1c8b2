// What a training job runs: `node training-process.js TICKET train …`, the command line behind a ticket.
import { StartTicket } from "./start-ticket.js";

const [ticket] = process.argv.splice(2, 1);
// The server that started this process was killed, and the next one has given this attempt up.
if (!(await StartTicket.take(ticket!))) process.exit(0);
await import("../../cli/main.js");
