// One FollowAttempts stream: what a scheduler asks for, and what is told of it, as fast as the stream takes it.
'use strict';

const { status } = require('@grpc/grpc-js');
const { statusBytes } = require('./values');

const HEARTBEAT_SECONDS = Number(process.env.YIVIDEO_NODE__HEARTBEAT_SECONDS || 4);

class Following {
  constructor(call, table, Refused) {
    this.call = call;
    this.table = table;
    this.Refused = Refused;
    this.watches = new Map();
    this.newest = 0n;
    this.blocked = false;
    this.over = false;
    this.beat = setInterval(() => this.write({}), HEARTBEAT_SECONDS * 1000);
    call.on('data', (message) => this.obey(message));
    call.on('drain', () => {
      this.blocked = false;
      this.pump();
    });
    call.on('end', () => this.finish());
    for (const event of ['cancelled', 'close', 'error']) call.on(event, () => this.release());
  }

  obey(message) {
    for (const { watch, request } of message.follow) {
      if (this.over) return;
      if (BigInt(watch) <= this.newest) {
        this.release();
        this.call.emit('error', { code: status.INVALID_ARGUMENT, details: 'watch numbers grow, from 1' });
        return;
      }
      this.newest = BigInt(watch);
      this.follow(watch, request);
    }
    for (const watch of message.leave) this.leave(watch);
  }

  follow(watch, request) {
    let attempt;
    try {
      attempt = this.table.attachOrStart(request);
    } catch (error) {
      const code = error instanceof this.Refused ? error.code : status.INTERNAL;
      this.end(watch, statusBytes(code, error.message));
      return;
    }
    const followed = { attempt, position: request.after_sequence, wake: () => this.pump() };
    this.watches.set(watch, followed);
    attempt.watch(followed);
    this.pump();
  }

  leave(watch) {
    const followed = this.watches.get(watch);
    if (followed) {
      this.watches.delete(watch);
      followed.attempt.leave(followed);
    }
  }

  // Send what is new. A watch is only a place among its attempt's events: a client that does not read costs no memory.
  pump() {
    for (const [watch, followed] of [...this.watches]) {
      const { attempt } = followed;
      if (attempt.superseded) {
        this.leave(watch);
        this.end(watch, statusBytes(status.ABORTED, 'a newer attempt is here'));
        continue;
      }
      while (!this.blocked && !this.over && followed.position < attempt.events.length) {
        const event = attempt.events[followed.position];
        followed.position = event.sequence;
        this.write({ events: [{ watch, event }] });
      }
      if (attempt.ended && followed.position >= attempt.events.length && !this.over) {
        this.leave(watch);
        this.end(watch, Buffer.alloc(0));
        this.table.noteRead(attempt);
      }
    }
  }

  end(watch, raw) {
    this.write({ ends: [{ watch, status: raw }] });
  }

  write(message) {
    if (!this.over && !this.call.write(message)) this.blocked = true;
  }

  // The client asks for nothing more.
  finish() {
    if (this.over) return;
    this.release();
    this.call.end();
  }

  release() {
    this.over = true;
    clearInterval(this.beat);
    for (const watch of [...this.watches.keys()]) this.leave(watch);
  }
}

module.exports = { Following };
