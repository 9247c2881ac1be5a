/** A build of the pipeline that has no network policies, for bench/micro/policies.ts: the stage answers GO_ON. */
const STAGE = /\/stages\/network-policy\.ts$/;
const NONE = `export const checkNetworkPolicy = () => 0;
export const checkFlowPolicy = () => 0;
`;

export const withoutPolicies = {
  name: 'without-policies',
  setup({ onLoad }) {
    onLoad({ filter: STAGE }, () => ({ contents: NONE, loader: 'js' }));
  },
};
