/** What the launcher has to know to start a container from an image, or to run another program in it. */
import type { Privileges } from '../container/security.ts';

/** The file in the container's directory that holds it. */
export const SPEC_FILE = 'launch.json';
/** Written by the launcher: the user that the container runs as, for programs that are run in it later. */
export const ACCOUNT_FILE = 'account.json';

/** A part of the host's tree that the container has at `target`. */
export interface TreeMount {
  source: string;
  target: string;
  readOnly: boolean;
  /** The source is a file, not a directory. */
  file: boolean;
  /** Programs in it may be executed, even if it is on a mount of the host that forbids that. */
  executable: boolean;
}

export interface LaunchSpec {
  /** Directory of the unpacked layers, and their names in it, the uppermost first. */
  store: string;
  layers: readonly string[];
  /** Device nodes of the host to provide. */
  devices: readonly string[];
  /** Files and directories of /proc and /sys to hide, directories of /proc to make read-only. */
  hiddenFiles: readonly string[];
  hiddenDirectories: readonly string[];
  readOnly: readonly string[];
  /** Path → text of files that replace the image's. */
  files: Readonly<Record<string, string>>;
  mounts: readonly TreeMount[];
  workingDir: string;
  /** `NAME=value` */
  environment: readonly string[];
  /** `USER` of the image: `user[:group]`, by name or number; empty: root. */
  imageUser: string;
  /** Its user and group override the image's. */
  privileges: Privileges;
  readOnlyRoot: boolean;
  command: readonly string[];
  /** oom_score_adj (proc(5)). */
  oomScore: number;
  /** Files of its control groups, to which its first process writes 0. */
  groups: readonly string[];
  /** Standard input and output are a terminal of the devpts at the host's /dev/pts. */
  tty: boolean;
}
