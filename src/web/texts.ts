/** The page's texts, in the chosen language. What the data plane itself writes (steps, verdicts) stays in English. */
import { effect, signal } from '@preact/signals';
import { store, stored } from './storage.ts';
import { EN } from './texts-en.ts';
import { ZH } from './texts-zh.ts';

export type TextKey = keyof typeof EN;
export type Language = 'en' | 'zh';

const KEY = 'dataplane-language';
const TEXTS: Readonly<Record<Language, Readonly<Record<TextKey, string>>>> = { en: EN, zh: ZH };

function first(): Language {
  const chosen = stored(KEY);
  if (chosen === 'en' || chosen === 'zh') return chosen;
  return navigator.language.startsWith('zh') ? 'zh' : 'en';
}

export const language = signal<Language>(first());

export function switchLanguage(): void {
  language.value = language.value === 'en' ? 'zh' : 'en';
  store(KEY, language.value);
}

effect(() => {
  document.documentElement.lang = language.value === 'zh' ? 'zh-CN' : 'en';
});

/** The text, with `{0}`, `{1}` … replaced. */
export function t(key: TextKey, ...values: readonly (string | number)[]): string {
  return TEXTS[language.value][key].replace(/\{(\d)\}/g, (_, index: string) => String(values[Number(index)] ?? ''));
}

/** What a stage of the pipeline does, in one sentence; '' if nothing is known about it. */
export function stageText(stage: string): string {
  const key = `stage ${stage}`;
  return key in EN ? t(key as TextKey) : '';
}
