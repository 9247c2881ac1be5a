/**
 * Idle timeouts of connections, in seconds by class; an array, so that an operator can change each.
 *
 * Defaults are netfilter's (linux Documentation/networking/nf_conntrack-sysctl.rst) except for the two that kube-proxy
 * sets: established one day, CLOSE_WAIT one hour (kubernetes pkg/proxy/apis/config/v1alpha1/defaults.go).
 */
export const TimeoutClass = {
  /** The first reply was a reset: delete the connection at once (linux nf_ct_kill_acct). */
  TCP_REFUSED: 0,
  /** The TCP states, numbered as in tcp/states.ts. */
  TCP_SYN_SENT: 1,
  TCP_SYN_RECV: 2,
  TCP_ESTABLISHED: 3,
  TCP_FIN_WAIT: 4,
  TCP_CLOSE_WAIT: 5,
  TCP_LAST_ACK: 6,
  TCP_TIME_WAIT: 7,
  TCP_CLOSE: 8,
  TCP_SYN_SENT2: 9,
  TCP_MAX_RETRANS: 10,
  TCP_UNACKNOWLEDGED: 11,
  UDP: 12,
  UDP_STREAM: 13,
  ICMP: 14,
  GENERIC: 15,
} as const;
export type TimeoutClass = (typeof TimeoutClass)[keyof typeof TimeoutClass];

const DEFAULTS: readonly number[] = [0, 120, 60, 86400, 120, 3600, 30, 120, 10, 120, 300, 300, 30, 120, 30, 600];

/** Names by class, for options and `status`. */
export const TIMEOUT_NAMES: readonly string[] = [
  'tcp-refused',
  'tcp-syn-sent',
  'tcp-syn-recv',
  'tcp-established',
  'tcp-fin-wait',
  'tcp-close-wait',
  'tcp-last-ack',
  'tcp-time-wait',
  'tcp-close',
  'tcp-syn-sent2',
  'tcp-max-retrans',
  'tcp-unacknowledged',
  'udp',
  'udp-stream',
  'icmp',
  'generic',
];

/** The longest timeout: expiry times are int32 milliseconds, which wrap after 24.8 days. */
export const MAX_TIMEOUT_SECONDS = 2_000_000;

/** Is this the name of a configurable timeout? */
export function isTimeoutName(name: string): boolean {
  return TIMEOUT_NAMES.indexOf(name) > TimeoutClass.TCP_REFUSED;
}

/** The defaults with some changed, by class. Unknown names and out-of-range values are ignored. */
export function timeoutsWith(changed: Readonly<Record<string, number>>): Int32Array {
  const timeouts = defaultTimeouts();
  for (const name of Object.keys(changed)) {
    const seconds = changed[name] as number;
    if (isTimeoutName(name) && seconds >= 1 && seconds <= MAX_TIMEOUT_SECONDS)
      timeouts[TIMEOUT_NAMES.indexOf(name)] = seconds;
  }
  return timeouts;
}

/** A new array of the defaults, in seconds, by class. */
export function defaultTimeouts(): Int32Array {
  return Int32Array.from(DEFAULTS);
}
