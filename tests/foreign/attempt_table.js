// The attempts on this node: slots, fences, and what has ended a while ago.
'use strict';

const { randomUUID } = require('crypto');
const { status } = require('@grpc/grpc-js');
const { Attempt } = require('./attempt');
const { NODE, TASK_TYPES, Refused: InputRefused, checked } = require('./task_types');
const { fromStruct } = require('./values');

const UNREAD_SECONDS = 600;
const READ_SECONDS = 60;
const MAX_KEPT = 1000;

// Why a request is refused: a status code, which is enough, and a text for people.
class Refused extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

class AttemptTable {
  constructor({ slots, orphanSeconds }) {
    this.slots = slots;
    this.orphanSeconds = orphanSeconds;
    this.replica = `${NODE}-${randomUUID()}`;
    this.draining = false;
    this.running = new Map();
    this.kept = new Map();
    this.listeners = new Set();
  }

  get freeSlots() {
    return this.draining ? 0 : Math.max(0, this.slots - this.running.size);
  }

  here(taskId) {
    return this.running.get(taskId) || this.kept.get(taskId);
  }

  find(taskId, attempt, fence) {
    const found = this.here(taskId);
    const other = found && ((attempt && found.attempt !== attempt) || (fence && found.fence !== fence));
    if (!found || other) throw new Refused(status.NOT_FOUND, `the task ${taskId} is not on this node`);
    return found;
  }

  // The attempt that a request means: the one that is here, or a new one. The fence decides; without one, the number.
  attachOrStart(request) {
    const here = this.here(request.spec && request.spec.task_id);
    if (here && this.isSame(here, request)) return here;
    if (request.attach_only) throw new Refused(status.NOT_FOUND, 'the attempt is not on this node');
    const latest = request.latest_start_time;
    if (latest && Date.now() / 1000 > Number(latest.seconds) + latest.nanos / 1e9) {
      throw new Refused(status.ABORTED, 'the start came too late');
    }
    if (this.draining) throw new Refused(status.UNAVAILABLE, 'this node is shutting down');
    const [input, timeoutSeconds] = this.assignment(request.spec);
    const predecessor = this.running.get(request.spec.task_id);
    if (!predecessor && this.freeSlots === 0) {
      throw new Refused(status.RESOURCE_EXHAUSTED, `all ${this.slots} slots are taken`);
    }
    const changed = (attempt) => this.ended(attempt);
    const { replica, orphanSeconds } = this;
    const made = new Attempt(request, input, timeoutSeconds, { node: NODE, replica, orphanSeconds, changed });
    this.forget(made.taskId);
    this.running.set(made.taskId, made);
    if (predecessor) predecessor.stop('superseded');
    made.run(predecessor);
    this.notify();
    return made;
  }

  isSame(here, request) {
    const fence = BigInt(request.fence);
    const number = request.attempt || 1;
    const older = fence ? fence < here.fence : number < here.attempt;
    if (older) throw new Refused(status.ABORTED, 'a newer attempt is here');
    if (fence ? fence === here.fence : number === here.attempt) return true;
    if (!fence && here.fence) throw new Refused(status.ABORTED, 'the task belongs to a scheduler');
    return false;
  }

  assignment(spec) {
    const kind = TASK_TYPES.find((known) => known.name === spec.task_name);
    if (!kind) throw new Refused(status.INVALID_ARGUMENT, `this node has no task ${spec.task_name}`);
    try {
      return [checked(fromStruct(spec.input)), spec.timeout_seconds || kind.timeout_seconds];
    } catch (error) {
      if (error instanceof InputRefused) throw new Refused(status.INVALID_ARGUMENT, error.message);
      throw error;
    }
  }

  cancel({ task_id: taskId, attempt, fence, reason }) {
    const found = this.find(taskId, attempt, BigInt(fence));
    if (found.ended) throw new Refused(status.FAILED_PRECONDITION, `the task ${taskId} has ended`);
    if (found.stopping) throw new Refused(status.FAILED_PRECONDITION, `the task ${taskId} is being stopped already`);
    found.stop('cancel', reason);
    return found;
  }

  ended(attempt) {
    if (this.running.get(attempt.taskId) === attempt) {
      this.running.delete(attempt.taskId);
      this.keep(attempt, attempt.read ? READ_SECONDS : UNREAD_SECONDS);
    }
    this.notify();
  }

  // The terminal event has been written to a stream that has not broken.
  noteRead(attempt) {
    if (attempt.read) return;
    attempt.read = true;
    if (this.kept.get(attempt.taskId) === attempt) this.keep(attempt, READ_SECONDS);
    this.notify();
  }

  keep(attempt, seconds) {
    this.forget(attempt.taskId);
    if (this.kept.size >= MAX_KEPT) this.forget(this.kept.keys().next().value);
    attempt.keptTimer = setTimeout(() => this.forget(attempt.taskId), seconds * 1000);
    attempt.keptTimer.unref();
    this.kept.set(attempt.taskId, attempt);
  }

  forget(taskId) {
    const found = this.kept.get(taskId);
    if (found) clearTimeout(found.keptTimer);
    this.kept.delete(taskId);
  }

  notify() {
    for (const listener of this.listeners) listener();
  }

  condition() {
    const unread = [...this.kept.values()].filter((attempt) => !attempt.read);
    return {
      node: NODE,
      replica: this.replica,
      slots: this.slots,
      free_slots: this.freeSlots,
      draining: this.draining,
      attempts: [...this.running.values(), ...unread].map((attempt) => ({
        task_id: attempt.taskId,
        attempt: attempt.attempt,
        fence: String(attempt.fence),
        ended: attempt.ended,
      })),
      engines: [`node.js/${process.versions.node}`],
      task_types_etag: '1',
    };
  }

  // Take nothing new, hand back what runs, and wait a little until all ends were read.
  async drain(seconds) {
    this.draining = true;
    this.notify();
    const left = [...this.running.values()];
    for (const attempt of left) attempt.stop('draining');
    await Promise.all(left.map((attempt) => attempt.gone));
    const deadline = Date.now() + seconds * 1000;
    while (left.some((attempt) => !attempt.read) && Date.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

module.exports = { AttemptTable, Refused };
