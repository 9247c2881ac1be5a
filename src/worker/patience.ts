/**
 * How a worker waits for frames: it looks for a moment before it sleeps, as long as looking pays.
 *
 * To sleep and be woken costs more than a frame does: a core that went idle in a virtual machine is woken by an
 * interrupt through the hypervisor. When frames come one after another, as in request and answer, a worker that keeps
 * looking meets each of them awake. When it looks in vain it keeps a core from somebody who has work, perhaps the very
 * program it waits for; so it counts, as the kernel's own halt polling does (linux virt/kvm/kvm_main.c,
 * kvm_vcpu_halt), and an idle worker just sleeps.
 */
import { microseconds, microsecondsSince } from '../linux/clock.ts';
import type { Epoll } from '../linux/epoll.ts';
import { schedYield } from '../linux/ffi.ts';

/** How long one look lasts at most, microseconds. */
const LOOK = 50;
/** A sleep this short should have been a look, microseconds. */
const SHORT_SLEEP = 2 * LOOK;
/** What the outcomes count: four looks in five have to meet a frame. */
const MET = 1;
const IN_VAIN = 4;
const MOST = 32;

export class Patience {
  /** Was nothing ready at the first look of the batch in hand? */
  waited = false;
  /** Above 0: looking pays. */
  private score = 0;

  /** What is ready at once, or within a moment if that is worth waiting for. @returns 0 when it is time to sleep */
  look(epoll: Epoll): number {
    let ready = epoll.wait(0);
    this.waited = ready === 0;
    if (ready !== 0 || this.score <= 0) return ready;
    const start = microseconds();
    do {
      // Whoever has work on this core goes first: it may be the one we wait for.
      schedYield();
      ready = epoll.wait(0);
    } while (ready === 0 && microsecondsSince(start) < LOOK);
    this.score = ready === 0 ? this.score - IN_VAIN : Math.min(this.score + MET, MOST);
    return ready;
  }

  /** Sleep until something is ready, at most `idleMs`. */
  sleep(epoll: Epoll, idleMs: number): number {
    const start = microseconds();
    const ready = epoll.wait(idleMs);
    if (ready !== 0 && microsecondsSince(start) < SHORT_SLEEP) this.score = Math.min(this.score + MET, MOST);
    return ready;
  }
}
