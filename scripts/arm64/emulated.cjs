// Loaded first by every emulated Node.js. The kernel of this machine cannot run ARM's programs, so what starts "this
// Node.js" once more has to start the emulator: NODE_EMULATED is the script that does.
process.execPath = process.env.NODE_EMULATED;
