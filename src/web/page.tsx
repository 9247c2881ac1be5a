/** The page of a running cluster. */
import { signal } from '@preact/signals';
import type { JSX } from 'preact';
import { render } from 'preact';
import type { FlowRow, WalkRequest, WalkView } from '../ui/protocol.ts';
import { boxesOf } from '../ui/walk-boxes.ts';
import { Details, nameOf } from './details.tsx';
import { Flows } from './flows.tsx';
import { Graph } from './graph/graph.tsx';
import { Header } from './header.tsx';
import * as live from './live.ts';
import { draftOf, EMPTY_PACKET } from './packet-form.tsx';
import { PacketPanel } from './packet-panel.tsx';
import { Tabs } from './tabs.tsx';
import { t } from './texts.ts';
import { WhatIf } from './what-if.tsx';

const tab = signal<'details' | 'packet' | 'what-if'>('details');
const selected = signal('');
const selectedEdges = signal<readonly string[]>([]);
const openRow = signal(0);
const draft = signal(EMPTY_PACKET);
const walk = signal<WalkView | undefined>(undefined);
const problem = signal('');
const busy = signal(false);
/** Boxes of the topology that the walk passes. */
const path = signal<ReadonlySet<string>>(new Set());

function select(id: string, edges: readonly string[] = []): void {
  selected.value = id;
  selectedEdges.value = edges;
  if (tab.value === 'what-if' || id !== '') tab.value = 'details';
}

async function trace(request: WalkRequest): Promise<void> {
  draft.value = draftOf(request);
  tab.value = 'packet';
  busy.value = true;
  problem.value = '';
  try {
    walk.value = await live.ask<WalkView>('walk', request);
    path.value = boxesOf(walk.value);
  } catch (error) {
    walk.value = undefined;
    problem.value = (error as Error).message;
  }
  busy.value = false;
}

function openFlow(row: FlowRow): void {
  openRow.value = row.number;
  if (row.walk !== undefined) void trace(row.walk);
}

const STATES = { connecting: 'connecting', live: 'live', disconnected: 'disconnected' } as const;

function Page(): JSX.Element {
  const topology = live.topology.value;
  return (
    <>
      <Header>
        <span class={`state ${live.state.value}`} role="status">
          {t(STATES[live.state.value])}
        </span>
        {live.notice.value !== '' && <span class="error">{live.notice.value}</span>}
        {live.lost.value > 0 && <span class="warn">{t('lost', live.lost.value)}</span>}
      </Header>
      <main class="layout">
        <section class="map" aria-label={t('topology')}>
          <Graph
            topology={topology}
            edges={live.edges.value}
            loads={live.loads.value}
            selected={selected.value}
            path={tab.value === 'packet' ? path.value : NOTHING}
            onSelect={select}
          />
          <p class="visually-hidden" role="status">
            {selected.value === '' ? '' : t('selected', nameOf(selected.value))}
          </p>
        </section>
        <Flows onOpen={openFlow} open={openRow.value} />
        <aside class="side" aria-label={t('details')}>
          <Tabs
            label={t('details')}
            open={tab}
            tabs={[
              {
                id: 'details',
                label: t('details'),
                content: () => (
                  <Details
                    topology={topology}
                    edges={live.edges.value}
                    loads={live.loads.value}
                    selected={selected.value}
                    selectedEdges={selectedEdges.value}
                    onSelect={select}
                    onWalk={trace}
                    onFilter={live.follow}
                  />
                ),
              },
              { id: 'packet', label: t('packet'), content: () => <PacketTab /> },
              { id: 'what-if', label: t('whatIf'), content: () => <WhatIf topology={topology} /> },
            ]}
          />
        </aside>
      </main>
    </>
  );
}

const NOTHING: ReadonlySet<string> = new Set();

function PacketTab(): JSX.Element {
  return (
    <PacketPanel
      topology={live.topology.value}
      draft={draft}
      sends={false}
      busy={busy.value}
      walk={walk.value}
      problem={problem.value}
      onSend={trace}
    />
  );
}

live.follow('');
render(<Page />, document.getElementById('root')!);
