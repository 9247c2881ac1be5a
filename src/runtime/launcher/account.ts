/**
 * The user that a container of an image runs as: Kubernetes' runAsUser and runAsGroup, else the image's USER, looked up
 * in the image's own /etc/passwd and /etc/group. Pure.
 *
 * The rules are those of runc (libcontainer/user, GetExecUser) and containerd (pkg/oci, WithUser, WithAdditionalGIDs): a
 * number needs no entry; without a group it is the entry's, or 0; the groups that list the user are added.
 */

export interface Account {
  uid: number;
  gid: number;
  groups: number[];
  home: string;
}

export interface WantedUser {
  imageUser: string;
  user?: number | undefined;
  group?: number | undefined;
  /** In addition to those of /etc/group. */
  groups?: readonly number[];
}

const MAX_ID = 0xffff_fffe;

/** @throws Error if a name has no entry, or a number is not an id */
export function accountOf(
  { imageUser, user, group, groups: added = [] }: WantedUser,
  passwd: string,
  groupFile: string,
): Account {
  const [imageName = '', imageGroup = ''] = imageUser.split(':');
  const wantedUser = user === undefined ? imageName : String(user);
  const wantedGroup = group !== undefined ? String(group) : user === undefined ? imageGroup : '';
  const entries = entriesOf(passwd, 6);
  const entry = find(entries, wantedUser || '0');
  const uid = idOf(
    entry?.[2] ?? (wantedUser || '0'),
    `unable to find user ${wantedUser}: no matching entries in passwd file`,
  );
  const groups = entriesOf(groupFile, 3);
  const gid =
    wantedGroup === ''
      ? idOf(entry?.[3] ?? '0', 'the group of the user is not a number')
      : idOf(
          find(groups, wantedGroup)?.[2] ?? wantedGroup,
          `unable to find group ${wantedGroup}: no matching entries in group file`,
        );
  const name = entry?.[0];
  const more = groups.filter(([, , , members = '']) => name !== undefined && members.split(',').includes(name));
  const ids = more.map(([, , id = '']) => Number(id)).filter((id) => Number.isInteger(id) && id >= 0 && id <= MAX_ID);
  return { uid, gid, groups: [...new Set([...ids, ...added])].filter((id) => id !== gid), home: entry?.[5] || '/' };
}

/** The environment with HOME, unless that is set. */
export function withHome(environment: readonly string[], { home }: Account): string[] {
  return environment.some((entry) => entry.startsWith('HOME=')) ? [...environment] : [...environment, `HOME=${home}`];
}

/** Lines of a file of colon-separated fields, those that have enough of them. */
const entriesOf = (text: string, fields: number): string[][] =>
  text
    .split('\n')
    .map((line) => line.trim().split(':'))
    .filter((entry) => entry.length >= fields);

/** By name; a number also by id, as a name may consist of digits. */
function find(entries: readonly string[][], wanted: string): string[] | undefined {
  return (
    entries.find(([name]) => name === wanted) ??
    (/^\d+$/.test(wanted)
      ? entries.find(([, , id = '']) => /^\d+$/.test(id) && Number(id) === Number(wanted))
      : undefined)
  );
}

function idOf(text: string, otherwise: string): number {
  const id = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!(id <= MAX_ID)) throw new Error(otherwise);
  return id;
}
