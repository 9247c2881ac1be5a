/** How long commands wait until what they applied is Ready, unless they are given another time. */
export const DEFAULT_TIMEOUT_SECONDS = 60;
