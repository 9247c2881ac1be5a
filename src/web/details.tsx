/** What is selected in the topology, and the connections that it has. */
import type { ComponentChildren, JSX } from 'preact';
import type { EdgeView, NodeLoadView, PodView, ServiceView, Topology, WalkRequest } from '../ui/protocol.ts';
import { OUTSIDE } from '../ui/protocol.ts';
import { nodeId } from '../ui/topology.ts';
import { bytesRate, perSecond, short } from './numbers.ts';
import { t } from './texts.ts';

interface DetailsProps {
  readonly topology: Topology;
  readonly edges: readonly EdgeView[];
  readonly loads: readonly NodeLoadView[];
  readonly selected: string;
  /** Of the selected line; empty: all that touch the selected box. */
  readonly selectedEdges: readonly string[];
  readonly onSelect: (id: string) => void;
  readonly onWalk: (request: WalkRequest) => void;
  /** Undefined where there are no flows. */
  readonly onFilter?: (filter: string) => void;
}

/** Connections that are listed. */
const LISTED = 60;

export const nameOf = (id: string): string => (id === OUTSIDE ? t('outside') : id.replace(/^(pod|svc|node):/, ''));

export function Details(props: DetailsProps): JSX.Element {
  const { topology, edges, loads, selected, selectedEdges } = props;
  const pod = topology.pods.find(({ id }) => id === selected);
  const service = topology.services.find(({ id }) => id === selected);
  const node = topology.nodes.find(({ name }) => nodeId(name) === selected);
  const load = loads.find(({ name }) => name === node?.name);
  const ofNode = new Set(topology.pods.filter((one) => one.node === node?.name).map(({ id }) => id));
  const touches = ({ id, from, to, service: through }: EdgeView): boolean => {
    if (selected === '') return true;
    if (selectedEdges.length > 0) return selectedEdges.includes(id);
    return [from, to, through].some((end) => end === selected || ofNode.has(end));
  };
  const shown = edges.filter(touches).sort(inListOrder);
  return (
    <div class="details">
      {selected === '' && <p class="hint">{t('nothingSelected')}</p>}
      {pod !== undefined && <PodDetails pod={pod} {...props} />}
      {service !== undefined && <ServiceDetails service={service} {...props} />}
      {node !== undefined && (
        <>
          <h3>
            <Kind text={t('node')} /> {node.name}
          </h3>
          <Rows
            rows={[
              [t('address'), node.ip],
              [t('podNetwork'), node.podCIDR],
              [t('pods'), String(ofNode.size)],
              ...(load === undefined
                ? []
                : ([
                    [t('rate'), bytesRate(load.bytesPerSecond)],
                    [t('frames'), perSecond(load.framesPerSecond)],
                    [t('drops'), perSecond(load.dropsPerSecond)],
                    [t('tracked'), String(load.connections)],
                  ] as [string, string][])),
            ]}
          />
        </>
      )}
      <h3>{t('connections')}</h3>
      {shown.length === 0 ? (
        <p class="hint">{t('noConnections')}</p>
      ) : (
        <ul class="edges">
          {shown.slice(0, LISTED).map((edge) => (
            <Edge key={edge.id} edge={edge} onWalk={props.onWalk} />
          ))}
        </ul>
      )}
    </div>
  );
}

/** Those with drops first, then by name: an order by rates would move what somebody is about to click. */
const inListOrder = (a: EdgeView, b: EdgeView): number =>
  Number(b.dropped > 0) - Number(a.dropped > 0) || (a.id < b.id ? -1 : 1);

const Kind = ({ text }: { readonly text: string }): JSX.Element => <span class="kind">{text}</span>;

function Rows({ rows }: { readonly rows: readonly (readonly [string, ComponentChildren])[] }): JSX.Element {
  return (
    <dl class="rows">
      {rows.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

function PodDetails({ pod, onFilter }: { readonly pod: PodView } & DetailsProps): JSX.Element {
  return (
    <>
      <h3>
        <Kind text="Pod" /> {pod.namespace}/{pod.name}
      </h3>
      <Rows
        rows={[
          [t('node'), pod.node],
          [t('address'), <code key="ip">{pod.ip}</code>],
          [t('phase'), `${pod.phase}, ${pod.ready ? t('ready') : t('notReady')}`],
          [t('ports'), pod.ports.join(', ') || '—'],
          [t('labels'), <Labels key="labels" labels={pod.labels} />],
        ]}
      />
      {onFilter !== undefined && (
        <button type="button" onClick={() => onFilter(`--pod ${pod.namespace}/${pod.name}`)}>
          {t('flowsOf')}
        </button>
      )}
    </>
  );
}

function Labels({ labels }: { readonly labels: Readonly<Record<string, string>> }): JSX.Element {
  const all = Object.entries(labels);
  if (all.length === 0) return <>—</>;
  return (
    <>
      {all.map(([name, value]) => (
        <code key={name} class="label">
          {name}={value}
        </code>
      ))}
    </>
  );
}

function ServiceDetails({
  service,
  topology,
  onSelect,
  onFilter,
}: { readonly service: ServiceView } & DetailsProps): JSX.Element {
  const ports = service.ports.map(
    ({ port, protocol, target, nodePort }) =>
      `${port}/${protocol} → ${target}${nodePort === 0 ? '' : `, NodePort ${nodePort}`}`,
  );
  return (
    <>
      <h3>
        <Kind text="Service" /> {service.namespace}/{service.name}
      </h3>
      <Rows
        rows={[
          [t('type'), service.type],
          [t('address'), <code key="ip">{service.ip || '—'}</code>],
          [t('ports'), ports.join('; ') || '—'],
        ]}
      />
      <h4>
        {t('endpoints')} ({service.ready})
      </h4>
      {service.ready === 0 && <p class="warn">{t('noEndpoints')}</p>}
      <p class="chips">
        {service.endpoints.slice(0, 24).map((id) => (
          <button type="button" key={id} onClick={() => onSelect(id)}>
            {nameOf(id)} <small>{topology.pods.find((pod) => pod.id === id)?.ip}</small>
          </button>
        ))}
        {service.endpoints.length > 24 && <span class="muted">+ {service.endpoints.length - 24}</span>}
      </p>
      {onFilter !== undefined && (
        <button type="button" onClick={() => onFilter(`--service ${service.namespace}/${service.name}`)}>
          {t('flowsOf')}
        </button>
      )}
    </>
  );
}

function Edge({
  edge,
  onWalk,
}: {
  readonly edge: EdgeView;
  readonly onWalk: (request: WalkRequest) => void;
}): JSX.Element {
  const losing = edge.dropsPerSecond > 0;
  return (
    <li class={losing ? 'edge losing' : 'edge'}>
      <div class="edge-ends">
        <b>{nameOf(edge.from)}</b> → <b>{nameOf(edge.to === '' ? edge.service : edge.to)}</b>
        <span class="muted">
          {' '}
          {edge.protocol.toUpperCase()}
          {edge.port > 0 && ` ${edge.port}`}
          {edge.service !== '' && edge.to !== '' && ` ${t('through')} ${nameOf(edge.service)}`}
        </span>
      </div>
      <div class="edge-numbers">
        {edge.opened > 0 && (
          <span>
            {short(edge.opened)} {t('opened')} <small>{perSecond(edge.openedPerSecond)}</small>
          </span>
        )}
        {edge.bytesPerSecond > 0 && <span>{bytesRate(edge.bytesPerSecond)}</span>}
        {edge.dropped > 0 && (
          <span class="bad" title={`${t('lastDrop')}: ${edge.lastDrop}`}>
            {short(edge.dropped)} {t('dropped')} <small>{edge.lastDrop}</small>
          </span>
        )}
      </div>
      <button type="button" onClick={() => onWalk(edge.sample)}>
        {t('walk')}
      </button>
    </li>
  );
}
