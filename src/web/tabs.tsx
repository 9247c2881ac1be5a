/** Tabs, with the keys of the ARIA pattern: arrows move, Home and End jump. */
import type { Signal } from '@preact/signals';
import type { ComponentChildren, JSX } from 'preact';
import { useRef } from 'preact/hooks';

interface Tab<T extends string> {
  readonly id: T;
  readonly label: string;
  readonly content: () => ComponentChildren;
}

interface TabsProps<T extends string> {
  readonly label: string;
  readonly tabs: readonly Tab<T>[];
  readonly open: Signal<T>;
}

export function Tabs<T extends string>({ label, tabs, open }: TabsProps<T>): JSX.Element {
  const list = useRef<HTMLDivElement>(null);
  const at = Math.max(
    0,
    tabs.findIndex(({ id }) => id === open.value),
  );
  const onKeyDown = (event: KeyboardEvent) => {
    const next = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    open.value = tabs[(next + tabs.length) % tabs.length]!.id;
    requestAnimationFrame(() => list.current?.querySelector<HTMLElement>('[aria-selected="true"]')?.focus());
  };
  return (
    <>
      <div class="tabs" role="tablist" aria-label={label} ref={list} onKeyDown={onKeyDown}>
        {tabs.map(({ id, label: name }, i) => (
          <button
            type="button"
            key={id}
            id={`tab-${id}`}
            role="tab"
            aria-selected={i === at}
            aria-controls={`panel-${id}`}
            tabIndex={i === at ? 0 : -1}
            onClick={() => {
              open.value = id;
            }}
          >
            {name}
          </button>
        ))}
      </div>
      <div
        class="tab-panel"
        role="tabpanel"
        id={`panel-${tabs[at]!.id}`}
        aria-labelledby={`tab-${tabs[at]!.id}`}
        tabIndex={0}
      >
        {tabs[at]!.content()}
      </div>
    </>
  );
}
