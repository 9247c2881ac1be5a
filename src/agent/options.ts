/** What an agent is started with; everything else it reads from the API. */
export interface AgentOptions {
  readonly node: string;
  /** Unix socket or URL of the API. */
  readonly api: string;
  readonly stateDir: string;
  /** Image catalogue files besides the built-in one. */
  readonly catalogue?: readonly string[];
  /** Do without tunnel offload although the kernel has it. */
  readonly noTunnelOffload?: boolean;
}
