/** `dataplane policy`: what the network policies decide, have decided, and would decide. */
import { type Args, type Command, needOperand, operandsAtMost, readVerb } from '../args/args.ts';
import { NAMESPACE_OPTION } from '../with-client.ts';

export const command: Command = {
  usage: [
    'policy explain FROM TO[:PORT] [-p tcp|udp|sctp|icmp] [-n NAMESPACE] [-o json]',
    'policy list [-o json]',
    'policy audit [-o json]',
    'policy advise [-n NAMESPACE | -A]',
    'policy diff -f FILE [-n NAMESPACE] [-o json]',
  ],
  about: `\`explain\` shows whether the network policies allow a connection: every policy that selects the sender or the receiver, rule
by rule, and what would have to differ. FROM and TO are pod/NAME or an IPv4 address; TO may be svc/NAME:PORT, which stands
for each of its endpoints. It exits with 1 if the connection is denied.
\`list\` shows every rule with the number of connections that it has decided on this machine's nodes.
\`audit\` shows what policies with the annotation dataplane.dev/policy-audit: "true" would have denied: they are logged, and
have no other effect.
\`advise\` prints NetworkPolicies that allow the connections that are tracked now, and nothing else, for all pods of a namespace.
\`diff\` shows which of these connections the policies of a manifest would deny or allow, without applying them; it exits with 1
if there are any.`,
  options: {
    protocol: { short: 'p', value: 'NAME', help: 'tcp, udp, sctp or icmp (default: tcp)' },
    file: { short: 'f', value: 'FILE', multiple: true, help: 'policies for `diff`: a file, directory, or - for stdin' },
    'all-namespaces': { short: 'A', help: '`advise` for the pods of all namespaces' },
    ...NAMESPACE_OPTION,
    output: { short: 'o', value: 'FORMAT', help: 'json' },
    help: { short: 'h', help: 'show this help' },
  },
  examples: [
    'dataplane policy explain pod/client svc/web:80',
    'dataplane policy explain 203.0.113.9 pod/web:8080',
    'dataplane policy list',
    'dataplane policy advise -n shop > shop-policies.yaml',
    'dataplane policy diff -f shop-policies.yaml',
  ],
  run,
};

const VERBS = ['explain', 'list', 'audit', 'advise', 'diff'] as const;

async function run(args: Args): Promise<void> {
  const verb = readVerb('policy', needOperand('policy', args, 0, 'what to do'), VERBS);
  if (verb !== 'explain') operandsAtMost(`policy ${verb}`, args, 1);
  switch (verb) {
    case 'explain':
      return (await import('../policies/explain.ts')).explainConnection(args);
    case 'list':
      return (await import('../policies/list.ts')).listPolicies(args);
    case 'audit':
      return (await import('../policies/audit.ts')).showAudited(args);
    case 'advise':
      return (await import('../policies/advise.ts')).advisePolicies(args);
    case 'diff':
      return (await import('../policies/diff.ts')).diffPolicies(args);
  }
}
