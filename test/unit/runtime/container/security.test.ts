/** securityContext: who a container's process is, and what it may do and gain. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Pod, PodSecurityContext, SecurityContext } from '../../../../src/api/types/objects.ts';
import { privilegeCommand, privilegesOf } from '../../../../src/runtime/container/security.ts';

function privileges(own: SecurityContext, common: PodSecurityContext = {}, imageUser = '') {
  const container = { name: 'c', image: 'x', securityContext: own };
  const pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'p', namespace: 'default', uid: 'u' },
    spec: { containers: [container], securityContext: common },
  } as unknown as Pod;
  return privilegesOf(pod, container, imageUser);
}

test("a container's user and group replace the pod's; supplementary groups are the pod's", () => {
  const common = { runAsUser: 1, runAsGroup: 2, supplementalGroups: [7, 8] };
  const { user, group, groups } = privileges({ runAsUser: 3 }, common);
  assert.equal([user, group, groups], [3, 2, [7, 8]]);
});

test('capabilities: the usual ones, less what is dropped, and what is added; all of them if privileged', () => {
  assert.ok(privileges({}).capabilities!.includes('net_raw'));
  const { capabilities } = privileges({ capabilities: { drop: ['ALL'], add: ['NET_ADMIN', 'CAP_CHOWN'] } });
  assert.equal(capabilities, ['net_admin', 'chown']);
  assert.is(privileges({ privileged: true }).capabilities, undefined);
});

test('runAsNonRoot refuses root, which is who programs of the catalogue are, and accepts another user', () => {
  const where = '(pod: "p_default(u)", container: c)';
  const refused = (own: SecurityContext, common?: PodSecurityContext) => {
    try {
      privileges(own, common);
    } catch (error) {
      return (error as Error).message;
    }
    return undefined;
  };
  assert.is(refused({ runAsNonRoot: true }), `container has runAsNonRoot and image will run as root ${where}`);
  assert.is(refused({ runAsUser: 0 }, { runAsNonRoot: true }), `container's runAsUser breaks non-root policy ${where}`);
  assert.is(refused({ runAsNonRoot: true, runAsUser: 1 }), undefined);
  assert.is(refused({ runAsNonRoot: false }, { runAsNonRoot: true }), undefined);
});

test("runAsNonRoot accepts an image's user by number only, because a name may be root", () => {
  const own = { runAsNonRoot: true };
  assert.is(privileges(own, {}, '1000:0').user, undefined);
  for (const root of ['', '0', '0:5']) assert.throws(() => privileges(own, {}, root), 'image will run as root');
  assert.throws(() => privileges(own, {}, 'web'), 'image has non-numeric user (web), cannot verify user is non-root');
  assert.is(privileges({ ...own, runAsUser: 5 }, {}, 'web').user, 5);
});

test('the command that starts the program sets what differs from root, and nothing else', () => {
  assert.equal(privilegeCommand(privileges({ privileged: true })), []);
  const all = { privileged: true };
  assert.equal(privilegeCommand(privileges({ ...all, runAsUser: 5, allowPrivilegeEscalation: false })), [
    'setpriv',
    '--reuid=5',
    '--regid=0',
    '--clear-groups',
    '--no-new-privs',
    '--',
  ]);
  const groups = privilegeCommand(privileges(all, { supplementalGroups: [7, 8] }));
  assert.equal(groups, ['setpriv', '--groups=7,8', '--']);
});

test.run();
