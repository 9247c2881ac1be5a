/** The services of the shop and their messages. */
import protobuf from 'protobufjs';

export const shop = protobuf.parse(`
syntax = "proto3";
package shop;
message Empty {}
message Money { string currency = 1; int64 cents = 2; }
message Product { string id = 1; string name = 2; repeated string categories = 3; Money price = 4; }
message ProductId { string id = 1; }
message ProductList { repeated Product products = 1; }
message Item { string product = 1; int32 quantity = 2; }
message ItemList { repeated Item items = 1; }
message UserItem { string user = 1; Item item = 2; }
message User { string user = 1; }
message Conversion { Money from = 1; string to = 2; }
message Currencies { repeated string codes = 1; }
message Card { string number = 1; Money amount = 2; }
message Payment { string transaction = 1; }
message Parcel { string address = 1; repeated Item items = 2; }
message Tracking { string number = 1; }
message Order { string id = 1; string tracking = 2; string transaction = 3; Money total = 4; repeated Item items = 5; }
message Mail { string to = 1; Order order = 2; }
message OrderRequest { string user = 1; string currency = 2; string address = 3; string email = 4; string card = 5; }
message Context { repeated string words = 1; }
message Adverts { repeated string texts = 1; }
message Hint { string user = 1; repeated string products = 2; }
service Catalogue { rpc List (Empty) returns (ProductList); rpc Get (ProductId) returns (Product); }
service Cart { rpc Add (UserItem) returns (Empty); rpc Get (User) returns (ItemList); rpc Clear (User) returns (Empty); }
service Currency { rpc Supported (Empty) returns (Currencies); rpc Convert (Conversion) returns (Money); }
service Payments { rpc Charge (Card) returns (Payment); }
service Shipping { rpc Quote (Parcel) returns (Money); rpc Ship (Parcel) returns (Tracking); }
service Mailer { rpc Confirm (Mail) returns (Empty); }
service Checkout { rpc Place (OrderRequest) returns (Order); }
service Recommendations { rpc List (Hint) returns (ProductList); }
service Advertising { rpc For (Context) returns (Adverts); }
`).root;

export interface Money {
  currency: string;
  cents: number;
}
export interface Product {
  id: string;
  name: string;
  categories: string[];
  price: Money;
}
export interface Item {
  product: string;
  quantity: number;
}
export interface Order {
  id: string;
  tracking: string;
  transaction: string;
  total: Money;
  items: Item[];
}

export const printMoney = ({ currency, cents }: Money): string => `${currency} ${(cents / 100).toFixed(2)}`;
