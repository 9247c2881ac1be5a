/** The playground: a cluster in the browser, whose packets go through the same pipeline as on a node. No server is asked. */
import { signal } from '@preact/signals';
import type { JSX } from 'preact';
import { render } from 'preact';
import { processTraced } from '../../native-free-dataplane/trace/traced.ts';
import { PlaygroundCluster } from '../ui/playground/cluster.ts';
import { LESSON, type LessonStep } from '../ui/playground/lesson.ts';
import { readManifests } from '../ui/playground/manifests.ts';
import type { EdgeView, Topology, WalkRequest, WalkView } from '../ui/protocol.ts';
import { boxesOf } from '../ui/walk-boxes.ts';
import { Details } from './details.tsx';
import { Graph } from './graph/graph.tsx';
import { Header } from './header.tsx';
import { draftOf } from './packet-form.tsx';
import { PacketPanel } from './packet-panel.tsx';
import { Sent } from './sent.ts';
import { Tabs } from './tabs.tsx';
import { language, t } from './texts.ts';

const cluster = new PlaygroundCluster(processTraced);
const sent = new Sent();
const tab = signal<'lesson' | 'manifests' | 'details'>('lesson');
const topology = signal<Topology>(cluster.topology);
const edges = signal<readonly EdgeView[]>([]);
const text = signal('');
const applied = signal('');
const mistakes = signal<readonly string[]>([]);
const draft = signal(draftOf(LESSON[0]!.packet!));
const walk = signal<WalkView | undefined>(undefined);
const focus = signal<LessonStep['look']>(undefined);
const problem = signal('');
const selected = signal('');
const selectedEdges = signal<readonly string[]>([]);
const path = signal<ReadonlySet<string>>(new Set());
const step = signal(0);
const done = signal<ReadonlySet<number>>(new Set());

function apply(manifests: string): boolean {
  const { objects, mistakes: found } = readManifests(manifests);
  mistakes.value = found;
  if (found.length > 0) return false;
  try {
    cluster.apply(objects);
  } catch (error) {
    mistakes.value = [(error as Error).message];
    return false;
  }
  topology.value = cluster.topology;
  sent.forget();
  edges.value = [];
  const { pods, services, policies } = cluster.topology;
  applied.value = t('applied', pods.length, services.length, policies.length);
  walk.value = undefined;
  path.value = new Set();
  return true;
}

function send(request: WalkRequest): void {
  draft.value = draftOf(request);
  problem.value = '';
  try {
    const found = cluster.send(request);
    walk.value = found;
    edges.value = sent.add(request, found, cluster.topology);
    path.value = boxesOf(found);
  } catch (error) {
    walk.value = undefined;
    problem.value = (error as Error).message;
  }
}

function runStep({ manifests, packet, look }: LessonStep, index: number): void {
  if (manifests !== undefined) {
    text.value = manifests;
    if (!apply(manifests)) return;
  }
  focus.value = look;
  if (packet !== undefined) send(packet);
  done.value = new Set([...done.value, index]);
}

function Playground(): JSX.Element {
  return (
    <>
      <Header subtitle={t('playground')}>
        <span class="state live">{t('inBrowser')}</span>
      </Header>
      <main class="layout playground">
        <section class="left" aria-label={t('lesson')}>
          <Tabs
            label={t('lesson')}
            open={tab}
            tabs={[
              { id: 'lesson', label: t('lesson'), content: () => <Lesson /> },
              { id: 'manifests', label: t('manifests'), content: () => <Editor /> },
              {
                id: 'details',
                label: t('details'),
                content: () => (
                  <Details
                    topology={topology.value}
                    edges={edges.value}
                    loads={[]}
                    selected={selected.value}
                    selectedEdges={selectedEdges.value}
                    onSelect={(id) => {
                      selected.value = id;
                    }}
                    onWalk={send}
                  />
                ),
              },
            ]}
          />
        </section>
        <section class="map" aria-label={t('topology')}>
          <Graph
            topology={topology.value}
            edges={edges.value}
            loads={[]}
            selected={selected.value}
            path={path.value}
            onSelect={(id, list) => {
              selected.value = id;
              selectedEdges.value = list;
              if (id !== '') tab.value = 'details';
            }}
          />
        </section>
        <section class="side" aria-label={t('packet')}>
          <div class="scroll">
            <PacketPanel
              topology={topology.value}
              draft={draft}
              sends
              busy={false}
              walk={walk.value}
              look={focus.value}
              problem={problem.value}
              onSend={send}
            />
          </div>
        </section>
      </main>
    </>
  );
}

function Lesson(): JSX.Element {
  const now = LESSON[step.value]!;
  const { value } = language;
  return (
    <article class="lesson">
      <p class="muted">{t('lessonStep', step.value + 1, LESSON.length)}</p>
      <h2>{now.title[value]}</h2>
      <p>{now.text[value].split('`').map((part, i) => (i % 2 === 1 ? <code key={part}>{part}</code> : part))}</p>
      <div class="lesson-tools">
        <button type="button" disabled={step.value === 0} onClick={() => step.value--}>
          {t('previousLesson')}
        </button>
        <button type="button" class="primary" onClick={() => runStep(now, step.value)}>
          {t('doIt')}
        </button>
        <button type="button" disabled={step.value === LESSON.length - 1} onClick={() => step.value++}>
          {t('nextLesson')}
        </button>
        {done.value.has(step.value) && <span class="good">✓ {t('done')}</span>}
      </div>
      <ol class="lesson-steps">
        {LESSON.map(({ title }, i) => (
          <li key={title.en}>
            <button type="button" aria-current={i === step.value ? 'step' : undefined} onClick={() => (step.value = i)}>
              {done.value.has(i) ? '✓ ' : ''}
              {title[value]}
            </button>
          </li>
        ))}
      </ol>
    </article>
  );
}

function Editor(): JSX.Element {
  return (
    <div class="what-if">
      <textarea
        class="editor tall"
        aria-label={t('manifests')}
        spellcheck={false}
        value={text.value}
        onInput={(event) => {
          text.value = event.currentTarget.value;
        }}
      />
      <div class="what-if-tools">
        <button type="button" onClick={() => runStep(LESSON[0]!, 0)}>
          {t('reset')}
        </button>
        <button type="button" class="primary" onClick={() => apply(text.value)}>
          {t('apply')}
        </button>
      </div>
      {mistakes.value.length === 0 ? (
        <p class="hint" role="status">
          {applied.value}
        </p>
      ) : (
        <div class="error" role="alert">
          {t('mistakes')}
          <ul>
            {mistakes.value.map((mistake) => (
              <li key={mistake}>{mistake}</li>
            ))}
          </ul>
        </div>
      )}
    </div>
  );
}

text.value = LESSON[0]!.manifests ?? '';
apply(text.value);
render(<Playground />, document.getElementById('root')!);
