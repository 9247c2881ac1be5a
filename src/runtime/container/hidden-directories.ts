/** Directories that no container sees the content of: as containerd's default maskedPaths, where the host has them. */
import { existsSync } from 'node:fs';

export const HIDDEN_DIRECTORIES: readonly string[] = [
  '/proc/acpi',
  '/proc/asound',
  '/proc/scsi',
  '/sys/firmware',
  '/sys/devices/virtual/powercap',
].filter((path) => existsSync(path));
