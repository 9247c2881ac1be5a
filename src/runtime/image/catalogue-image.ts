/** An entry of the image catalogue: what an image's name stands for on this machine. */
export interface CatalogueUser {
  name: string;
  uid: number;
  gid?: number;
  home?: string;
  shell?: string;
}

export interface CatalogueImage {
  names: string[];
  /** What `command` in a manifest replaces; a program of the host. */
  entrypoint?: string[];
  /** What `args` replaces. */
  cmd?: string[];
  env?: Record<string, string>;
  workingDir?: string;
  /** Accounts the container has even if the host has not. */
  users?: CatalogueUser[];
  /** Directories that must be there. */
  directories?: string[];
  /** Path → text, in place of the host's file. */
  files?: Record<string, string>;
  /** Path → target of a symbolic link. */
  links?: Record<string, string>;
  /** Default SIGTERM. */
  stopSignal?: NodeJS.Signals;
  /** The Debian package that brings the program, for the message when it is missing. */
  package?: string;
  /** Search the host's own PATH, too. */
  hostPath?: boolean;
}
