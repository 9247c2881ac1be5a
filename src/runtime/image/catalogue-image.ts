/** An entry of the image catalogue: what an image name stands for on this machine. */
export interface CatalogueUser {
  name: string;
  uid: number;
  gid?: number;
  home?: string;
  shell?: string;
}

export interface CatalogueImage {
  names: string[];
  /** Replaced by a manifest's `command`; a program of the host. */
  entrypoint?: string[];
  /** Replaced by a manifest's `args`. */
  cmd?: string[];
  env?: Record<string, string>;
  workingDir?: string;
  /** Accounts the container has even if the host does not. */
  users?: CatalogueUser[];
  /** Directories that must exist. */
  directories?: string[];
  /** Path → text, replacing the host's file. */
  files?: Record<string, string>;
  /** Path → target of a symbolic link. */
  links?: Record<string, string>;
  /** Default: SIGTERM. */
  stopSignal?: NodeJS.Signals;
  /** The Debian package that contains the program, for the message when it is missing. */
  package?: string;
  /** Also search the host's own PATH. */
  hostPath?: boolean;
}
