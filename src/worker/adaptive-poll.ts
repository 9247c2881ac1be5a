/**
 * How a worker waits for frames: it polls briefly before it sleeps, as long as polling pays off.
 *
 * Sleeping and waking up costs more than forwarding a frame: an idle core in a virtual machine is woken by an interrupt
 * through the hypervisor. When frames follow each other closely, as in request and response, a polling worker receives
 * each one without sleeping. When it polls in vain it takes a core from another thread with work, perhaps the very
 * program whose frame it waits for. So it keeps a score, as the kernel's halt polling does (linux virt/kvm/kvm_main.c,
 * kvm_vcpu_halt), and an idle worker just sleeps.
 */
import { microseconds, microsecondsSince } from '../linux/clock.ts';
import type { Epoll } from '../linux/epoll.ts';
import { schedYield } from '../linux/ffi.ts';

/** Longest time of one poll, microseconds. */
const POLL_US = 50;
/** After a sleep shorter than this, polling would have been better, microseconds. */
const SHORT_SLEEP = 2 * POLL_US;
/** Effect of each outcome on the score: polling goes on only while four polls in five find a frame. */
const HIT = 1;
const MISS = 4;
const MAX_SCORE = 32;

/** The waiting strategy of one worker, with its score. */
export class AdaptivePoll {
  /** Was nothing ready at the first check of the current batch? */
  waited = false;
  /** Above 0: polling pays off. */
  private score = 0;

  /** Check for ready ports, and poll for a moment if that pays off. @returns number ready; 0 if it is time to sleep */
  poll(epoll: Epoll): number {
    let ready = epoll.wait(0);
    this.waited = ready === 0;
    if (ready !== 0 || this.score <= 0) return ready;
    const start = microseconds();
    do {
      // Yield to any thread with work on this core: it may be the one that sends the next frame.
      schedYield();
      ready = epoll.wait(0);
    } while (ready === 0 && microsecondsSince(start) < POLL_US);
    this.score = ready === 0 ? this.score - MISS : Math.min(this.score + HIT, MAX_SCORE);
    return ready;
  }

  /** Sleep until something is ready, at most `idleMs`. */
  sleep(epoll: Epoll, idleMs: number): number {
    const start = microseconds();
    const ready = epoll.wait(idleMs);
    if (ready !== 0 && microsecondsSince(start) < SHORT_SLEEP) this.score = Math.min(this.score + HIT, MAX_SCORE);
    return ready;
  }
}
