/** The bar on top: title, state, and the switches of theme and language. */
import type { ComponentChildren, JSX } from 'preact';
import { switchLanguage, t } from './texts.ts';
import { switchTheme, theme } from './theme.ts';

interface HeaderProps {
  readonly subtitle?: string;
  readonly children?: ComponentChildren;
}

export function Header({ subtitle, children }: HeaderProps): JSX.Element {
  return (
    <header class="bar">
      <h1>
        <svg viewBox="0 0 24 24" width="22" height="22" aria-hidden="true">
          <path
            d="M4 7h7l3 5-3 5H4M14 12h6"
            fill="none"
            stroke="currentColor"
            stroke-width="2"
            stroke-linejoin="round"
          />
          <circle cx="4" cy="7" r="2" fill="currentColor" />
          <circle cx="4" cy="17" r="2" fill="currentColor" />
          <circle cx="20" cy="12" r="2" fill="currentColor" />
        </svg>
        dataplane {subtitle !== undefined && <span class="muted">{subtitle}</span>}
      </h1>
      <div class="bar-state">{children}</div>
      <button type="button" onClick={switchTheme}>
        {theme.value === 'dark' ? t('light') : t('dark')}
      </button>
      <button type="button" onClick={switchLanguage} lang={t('language') === '中文' ? 'zh-CN' : 'en'}>
        {t('language')}
      </button>
    </header>
  );
}
