/**
 * How smoothly the page of `dataplane ui` runs with 400 pods and 500 flows a second, in Chromium: the time between two
 * frames, what of it the page's thread works, and how long drawing takes; at rest, while the view is zoomed, and while it is
 * dragged. Without a graphics card Chromium draws by the processor, too: what a display shows can only be better.
 */
import { LiveModel } from '../../src/ui/live-model.ts';
import { type DevTools, type Page, startBrowser, whyNoBrowser } from '../../test/lib/browser.ts';
import { manyPods } from '../../test/lib/ui-fixture.ts';
import { serveModel } from '../../test/lib/ui-page.ts';
import { quantile } from '../lib/statistics.ts';
import { benchOptions } from './lib/options.ts';
import { onCleanUp, runScript } from './lib/processes.ts';

const HELP = `usage: PLAYWRIGHT_CORE=DIR AXE_CORE=DIR node dist/bench/net/page.js [--rounds 3] [--seconds 5]
Both are directories of npm packages that are installed elsewhere; Chromium is this machine's. The exit status is 1 if the page's
thread needs more than a frame of a 60 Hz display for the 95th of 100 frames.
`;
const PODS = 400;
const FLOWS_PER_SECOND = 500;
const FRAME_MS = 1000 / 60;
const SETTLE_MS = 3000;
const STEP_MS = 30;

/** Times of each frame: when it began, and how long the page's tasks were until the next. */
const RECORD = `(() => {
  const frames = (globalThis.benchFrames = []);
  const next = (now) => { frames.push(now); globalThis.benchRequest = requestAnimationFrame(next); };
  globalThis.benchRequest = requestAnimationFrame(next);
  globalThis.benchLong = [];
  globalThis.benchObserver = new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) globalThis.benchLong.push(duration);
  });
  benchObserver.observe({ entryTypes: ['longtask'] });
})()`;
const STOP = `(() => { cancelAnimationFrame(benchRequest); benchObserver.disconnect(); return { frames: benchFrames, long: benchLong, draw: dataplaneFrameTimes.drawMs }; })()`;

interface Recorded {
  readonly frames: readonly number[];
  /** Tasks of more than 50 ms. */
  readonly long: readonly number[];
  readonly draw: readonly number[];
}

/** What somebody does with the page, and how. */
const WAYS: Readonly<Record<string, (page: Page, ms: number) => Promise<void>>> = {
  'at rest': (page, ms) => page.waitForTimeout(ms),
  zooming: async (page, ms) => {
    for (let step = 0; step * STEP_MS < ms; step++) {
      await page.mouse.wheel(0, step % 40 < 20 ? -40 : 40);
      await page.waitForTimeout(STEP_MS);
    }
  },
  'moving the pointer over it': async (page, ms) => {
    for (let step = 0; step * STEP_MS < ms; step++) {
      await page.mouse.move(200 + ((step * 17) % 900), 120 + ((step * 11) % 400));
      await page.waitForTimeout(STEP_MS);
    }
  },
};

/** Processor time of the page's thread, milliseconds. */
interface ThreadTime {
  readonly all: number;
  readonly scripts: number;
  /** Layout and style. */
  readonly layout: number;
}

async function threadTime(tools: DevTools): Promise<ThreadTime> {
  const { metrics } = (await tools.send('Performance.getMetrics')) as { metrics: { name: string; value: number }[] };
  const ms = (name: string): number => (metrics.find((one) => one.name === name)?.value ?? 0) * 1000;
  return {
    all: ms('TaskDuration'),
    scripts: ms('ScriptDuration'),
    layout: ms('LayoutDuration') + ms('RecalcStyleDuration'),
  };
}

function report(name: string, { frames, long, draw }: Recorded, thread: ThreadTime): number {
  const between = frames.slice(1).map((time, i) => time - frames[i]!);
  const at = (list: readonly number[], part: number): string => quantile(list, part).toFixed(1);
  process.stdout.write(
    `  ${name}: ${between.length} frames, ms between them p50 ${at(between, 0.5)}, p95 ${at(between, 0.95)}, longest ${at(between, 1)}; ` +
      `drawing p50 ${at(draw, 0.5)}, p95 ${at(draw, 0.95)}, longest ${at(draw, 1)}; ` +
      `processor of the page's thread ${thread.all.toFixed(1)} ms a frame (scripts ${thread.scripts.toFixed(1)}, layout ${thread.layout.toFixed(1)}); ` +
      `tasks over 50 ms: ${long.length}\n`,
  );
  return quantile(draw, 0.95);
}

await runScript(async () => {
  const { rounds, seconds } = benchOptions(HELP, { rounds: 3, seconds: 5 });
  const lack = whyNoBrowser();
  if (lack) throw new Error(lack);
  const { topology, flows } = manyPods(PODS);
  const model = new LiveModel();
  model.setTopology(topology);
  let at = 0;
  const timer = setInterval(() => {
    for (let i = 0; i < FLOWS_PER_SECOND / 20; i++) model.addFlow(flows[at++ % flows.length]!, performance.now());
  }, 50);
  const served = await serveModel(model);
  onCleanUp('page', () => {
    clearInterval(timer);
    served.close();
  });
  const browser = await startBrowser();
  onCleanUp('browser', () => void browser.close());
  const page = await browser.newPage({ viewport: { width: 1440, height: 900 }, locale: 'en-US' });
  await page.goto(served.url);
  await page.locator('tbody tr').first().waitFor();
  const tools = await page.context().newCDPSession(page);
  await tools.send('Performance.enable', { timeDomain: 'threadTicks' });
  await page.waitForTimeout(SETTLE_MS);
  for (let round = 1; round <= rounds; round++) {
    process.stdout.write(`${PODS} pods, ${FLOWS_PER_SECOND} flows a second, round ${round}:\n`);
    for (const [name, act] of Object.entries(WAYS)) {
      await page.mouse.move(500, 300);
      await page.evaluate(`dataplaneFrameTimes.drawMs.length = 0; ${RECORD}`);
      const before = await threadTime(tools);
      await act(page, seconds * 1000);
      const after = await threadTime(tools);
      const recorded = await page.evaluate<Recorded>(STOP);
      const count = Math.max(1, recorded.frames.length);
      const perFrame = {
        all: (after.all - before.all) / count,
        scripts: (after.scripts - before.scripts) / count,
        layout: (after.layout - before.layout) / count,
      };
      if (Math.max(report(name, recorded, perFrame), perFrame.all) > FRAME_MS) process.exitCode = 1;
    }
  }
  await browser.close();
});
