export const command = {} as import('../words.ts').Command;
