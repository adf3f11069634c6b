// A YiVideo node in JavaScript: `node node.js` serves on YIVIDEO_RUNTIME__LISTEN and says where. Written from the contract's text
// (protos/yivideo/task/v1/task.proto) and docs/a-node-in-any-language.md; it shares no code with the nodes in Python.
'use strict';

const path = require('path');
const grpc = require('@grpc/grpc-js');
const protoLoader = require('@grpc/proto-loader');
const { HealthImplementation } = require('grpc-health-check');
const { AttemptTable, Refused } = require('./attempt_table');
const { Following } = require('./following');
const { TASK_TYPES, NODE } = require('./task_types');

const PROTOS = path.join(__dirname, '..', '..', 'protos');
const SERVICE = 'yivideo.task.v1.TaskService';
const CONDITION_SECONDS = Number(process.env.YIVIDEO_NODE__HEARTBEAT_SECONDS || 4);
const DRAIN_SECONDS = 5;
const MAX_REQUEST_BYTES = 4 * 1024 * 1024;

const contract = grpc.loadPackageDefinition(
  protoLoader.loadSync('yivideo/task/v1/task.proto', {
    includeDirs: [PROTOS],
    keepCase: true,
    longs: String, // fences are larger than what a JavaScript number keeps whole in general
    defaults: true,
    oneofs: true,
  }),
).yivideo.task.v1.TaskService;

function denied(call, token) {
  return token && call.metadata.get('authorization')[0] !== `Bearer ${token}`;
}

const UNAUTHENTICATED = { code: grpc.status.UNAUTHENTICATED, details: 'the token is missing or wrong' };

function service(table, token) {
  const unary = (answer) => (call, callback) => {
    if (denied(call, token)) {
      callback(UNAUTHENTICATED);
      return;
    }
    try {
      callback(null, answer(call.request));
    } catch (error) {
      const code = error instanceof Refused ? error.code : grpc.status.INTERNAL;
      callback({ code, details: error.message });
    }
  };
  const streaming = (serve) => (call) => {
    if (denied(call, token)) call.emit('error', UNAUTHENTICATED);
    else serve(call);
  };
  return {
    ListTaskTypes: unary(({ node }) => ({ task_types: node === '' || node === NODE ? TASK_TYPES : [] })),
    CancelTask: unary((request) => {
      const { taskId: task_id, attempt } = table.cancel(request);
      return { spec: { task_id }, state: 'TASK_STATE_CANCELLING', attempt };
    }),
    WatchNode: streaming((call) => watchNode(call, table)),
    FollowAttempts: streaming((call) => new Following(call, table, Refused)),
  };
}

// At once, at every change, and every few seconds.
function watchNode(call, table) {
  const tell = () => call.write(table.condition());
  const beat = setInterval(tell, CONDITION_SECONDS * 1000);
  const leave = () => {
    clearInterval(beat);
    table.listeners.delete(tell);
  };
  table.listeners.add(tell);
  for (const event of ['cancelled', 'close', 'error']) call.on(event, leave);
  tell();
}

function main() {
  const listen = process.env.YIVIDEO_RUNTIME__LISTEN || '127.0.0.1:0';
  const table = new AttemptTable({
    slots: Number(process.env.YIVIDEO_NODE__SLOTS || 2),
    orphanSeconds: Number(process.env.YIVIDEO_NODE__ORPHAN_SECONDS || 15),
  });
  const health = new HealthImplementation({ '': 'SERVING', [SERVICE]: 'SERVING' });
  const server = new grpc.Server({ 'grpc.max_receive_message_length': MAX_REQUEST_BYTES });
  server.addService(contract.service, service(table, process.env.YIVIDEO_RUNTIME__TOKEN));
  health.addToServer(server);
  server.bindAsync(listen, grpc.ServerCredentials.createInsecure(), (error, port) => {
    if (error) {
      console.error(`cannot listen on ${listen}: ${error.message}`);
      process.exit(1);
    }
    console.log(`listening ${listen.slice(0, listen.lastIndexOf(':'))}:${port}`);
  });
  process.once('SIGTERM', async () => {
    health.setStatus('', 'NOT_SERVING');
    health.setStatus(SERVICE, 'NOT_SERVING');
    await table.drain(DRAIN_SECONDS);
    server.forceShutdown();
    process.exit(0);
  });
}

main();
